//! Where the shared library of an engine lies: a setting, the environment, or one of the usual places, of
//! which the site-packages of a Python are one: `pip install onnxruntime` is how many people get it.
//!
//! Only looks at the file system. Nothing below the working directory is looked at, since a library is code.

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The setting of a library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Library {
    /// Looked for in the environment and the usual places.
    #[default]
    Search,
    /// Not used, even if it is there.
    Off,
    /// This file, or the one in this directory.
    At(PathBuf),
}

impl FromStr for Library {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Library, Infallible> {
        Ok(match text {
            "" | "auto" => Library::Search,
            "off" => Library::Off,
            path => Library::At(path.into()),
        })
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Library::Search => f.write_str("auto"),
            Library::Off => f.write_str("off"),
            Library::At(path) => path.display().fmt(f),
        }
    }
}

/// A library as it is looked for.
pub(super) struct Wanted {
    /// Its file name without a version.
    pub file: &'static str,
    /// The engine's own variable that names the file or its directory.
    pub variable: &'static str,
    /// Where it lies within site-packages.
    pub package: &'static str,
    /// What brings it.
    pub install: &'static str,
    /// The setting that names it.
    pub setting: &'static str,
    /// Directories of its own installers.
    pub installed: &'static [&'static str],
}

impl Wanted {
    /// The file, or why there is none and what to do.
    pub fn locate(&self, setting: &Library) -> Result<PathBuf, String> {
        self.locate_in(setting, &|name| env::var_os(name))
    }

    fn locate_in(
        &self,
        setting: &Library,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<PathBuf, String> {
        let (name, path) = match setting {
            Library::Off => return Err(format!("{} is off", self.setting)),
            Library::At(path) => (self.setting, path.clone()),
            Library::Search => match variable(self.variable).filter(|v| !v.is_empty()) {
                Some(path) => (self.variable, path.into()),
                None => return self.search(variable),
            },
        };
        if path.is_file() {
            return Ok(path);
        }
        newest(&path, self.file)
            .ok_or_else(|| format!("{name} is {}, where there is no {}", path.display(), self.file))
    }

    fn search(&self, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, String> {
        let found = self.places(variable).iter().find_map(|dir| newest(dir, self.file));
        found.ok_or_else(|| {
            format!(
                "there is no {} in the usual places: {}, or name it with {}",
                self.file, self.install, self.setting
            )
        })
    }

    fn places(&self, variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
        let of = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let mut places = Vec::new();
        let binary = env::current_exe().ok();
        if let Some(dir) = binary.as_deref().and_then(Path::parent) {
            places.extend([dir.to_owned(), dir.join("../lib")]);
        }
        if let Some(paths) = variable("LD_LIBRARY_PATH") {
            // An empty entry would mean the working directory.
            places.extend(env::split_paths(&paths).filter(|p| p.is_absolute()));
        }
        let mut prefixes: Vec<PathBuf> =
            ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(of).collect();
        let home = of("HOME");
        prefixes.extend(home.iter().map(|h| h.join(".local")));
        let pyenv = of("PYENV_ROOT").or(home.map(|h| h.join(".pyenv")));
        prefixes.extend(pyenv.iter().flat_map(|root| entries(&root.join("versions"))));
        prefixes.extend(["/usr/local", "/usr", "/opt/venv"].map(PathBuf::from));
        places.extend(prefixes.iter().flat_map(|p| site_packages(p)).map(|p| p.join(self.package)));
        places.extend(self.installed.iter().map(PathBuf::from));
        let multiarch = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
        places.extend(
            ["/usr/local/lib", "/usr/lib", &multiarch, "/usr/lib64"].into_iter().map(PathBuf::from),
        );
        places
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    // The same order on every start, the newest version first: 3.12 before 3.9.
    found.sort_by_cached_key(|path| std::cmp::Reverse((numbers(path), path.clone())));
    found
}

/// The numbers in a file's name.
fn numbers(path: &Path) -> Vec<u64> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let digits = name.split(|c: char| !c.is_ascii_digit());
    digits.filter_map(|digits| digits.parse().ok()).collect()
}

fn site_packages(prefix: &Path) -> Vec<PathBuf> {
    let pythons = ["lib", "lib64"].into_iter().flat_map(|lib| entries(&prefix.join(lib)));
    let pythons = pythons.filter(|p| {
        p.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("python3"))
    });
    pythons.flat_map(|p| ["site-packages", "dist-packages"].map(|d| p.join(d))).collect()
}

/// The file called `name` in a directory, or else the newest of those with a version behind it.
fn newest(dir: &Path, name: &str) -> Option<PathBuf> {
    let version = |path: &PathBuf| -> Option<Vec<u64>> {
        let rest = path.file_name()?.to_str()?.strip_prefix(name)?;
        let numbers = rest.split('.').skip(1).map(str::parse).collect::<Result<_, _>>().ok()?;
        (rest.is_empty() || rest.starts_with('.')).then_some(numbers)
    };
    let exact = dir.join(name);
    if exact.is_file() {
        return Some(exact);
    }
    entries(dir).into_iter().filter_map(|p| Some((version(&p)?, p))).max().map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted {
        file: "libthing.so",
        variable: "THING_PATH",
        package: "thing/capi",
        install: "pip install thing",
        setting: "thing_library",
        installed: &[],
    };

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn a_wheel_in_a_virtual_environment_is_found_and_its_newest_version_taken() {
        let root = tempfile::tempdir().unwrap();
        let package = root.path().join("lib/python3.11/site-packages/thing/capi");
        for name in ["libthing.so.1.9.0", "libthing.so.1.10.0", "libthing.sox", "libthing.so.1.x"] {
            touch(&package.join(name));
        }
        let variable = |name: &str| (name == "VIRTUAL_ENV").then(|| root.path().into());
        let found = WANTED.locate_in(&Library::Search, &variable).unwrap();
        assert_eq!(found, package.join("libthing.so.1.10.0"));
        let error = WANTED.locate_in(&Library::Search, &|_| None).unwrap_err();
        assert!(error.contains("pip install thing, or name it with thing_library"), "{error}");
    }

    #[test]
    fn the_newest_python_is_looked_at_first() {
        let root = tempfile::tempdir().unwrap();
        let package = |lib: &str| root.path().join(lib).join("site-packages/thing/capi");
        for lib in ["lib/python3.9", "lib/python3.12", "lib64/python3.13"] {
            touch(&package(lib).join("libthing.so"));
        }
        let variable = |name: &str| (name == "VIRTUAL_ENV").then(|| root.path().into());
        let found = WANTED.locate_in(&Library::Search, &variable).unwrap();
        assert_eq!(found, package("lib/python3.12").join("libthing.so"));
        std::fs::remove_dir_all(root.path().join("lib")).unwrap();
        let found = WANTED.locate_in(&Library::Search, &variable).unwrap();
        assert_eq!(found, package("lib64/python3.13").join("libthing.so"));
    }

    #[test]
    fn a_setting_is_stronger_than_the_variable_and_that_than_a_search() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = (root.path().join("a/libthing.so"), root.path().join("b/libthing.so.2"));
        touch(&a);
        touch(&b);
        let variable =
            |name: &str| (name == "THING_PATH").then(|| b.parent().unwrap().as_os_str().to_owned());
        let locate = |setting: &str| WANTED.locate_in(&setting.parse().unwrap(), &variable);
        assert_eq!(locate(a.to_str().unwrap()).unwrap(), a);
        assert_eq!(locate("auto").unwrap(), b);
        assert_eq!(locate("off").unwrap_err(), "thing_library is off");
        let error = locate("/nowhere").unwrap_err();
        assert_eq!(error, "thing_library is /nowhere, where there is no libthing.so");
    }

    #[test]
    fn a_setting_is_printed_as_it_is_read() {
        for text in ["auto", "off", "/opt/lib"] {
            assert_eq!(text.parse::<Library>().unwrap().to_string(), text);
        }
    }
}
