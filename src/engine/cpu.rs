//! The processor, as far as engines care.

use std::fs;

/// What of a processor's abilities engines make use of, as the kernel names them, and as people do.
const FEATURES: [(&str, &str); 9] = [
    ("avx2", "AVX2"),
    ("avx_vnni", "AVX-VNNI"),
    ("avx512f", "AVX-512"),
    ("avx512_vnni", "AVX-512 VNNI"),
    ("avx512_bf16", "AVX-512 bf16"),
    ("avx512_fp16", "AVX-512 fp16"),
    ("amx_tile", "AMX"),
    ("amx_bf16", "AMX bf16"),
    ("amx_int8", "AMX int8"),
];

/// A processor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Its maker's name for it; empty if the kernel doesn't say.
    pub model: String,
    /// What it can do, of what matters here.
    pub features: Vec<&'static str>,
}

impl Cpu {
    /// This machine's.
    pub fn read() -> Cpu {
        fs::read_to_string("/proc/cpuinfo")
            .map_or_else(|_| Cpu::default(), |text| Cpu::parse(&text))
    }

    fn parse(text: &str) -> Cpu {
        let line = |key: &str| {
            let mut pairs = text.lines().filter_map(|l| l.split_once(':'));
            pairs.find(|(k, _)| k.trim() == key).map_or("", |(_, value)| value.trim())
        };
        let flags: Vec<&str> = line("flags").split_whitespace().collect();
        let features = FEATURES.iter().filter(|(flag, _)| flags.contains(flag));
        Cpu { model: line("model name").to_owned(), features: features.map(|(_, n)| *n).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nflags\t\t: fpu avx2 avx512f amx_tile\n\n\
                    processor\t: 1\nmodel name\t: Some CPU @ 2.0GHz\n";
        let cpu = Cpu::parse(text);
        assert_eq!(cpu.model, "Some CPU @ 2.0GHz");
        assert_eq!(cpu.features, ["AVX2", "AVX-512", "AMX"]);
        assert_eq!(Cpu::parse(""), Cpu::default());
    }
}
