//! What Rust code allocates on a thread. What a library allocates by itself is not seen here.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Allocations of a thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub count: usize,
    pub largest: usize,
}

thread_local! {
    static COUNTED: Cell<Counted> = const { Cell::new(Counted { count: 0, largest: 0 }) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(size: usize) {
    // A thread that is ending has no counter any more, and nobody who asks for it.
    let _ = COUNTED.try_with(|counted| {
        let Counted { count, largest } = counted.get();
        counted.set(Counted { count: count + 1, largest: largest.max(size) });
    });
}

// SAFETY: all is the system's allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's own promise.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// What `f` gives, and what it allocated on this thread.
pub fn allocated<T>(f: impl FnOnce() -> T) -> (T, Counted) {
    COUNTED.set(Counted::default());
    let done = f();
    (done, COUNTED.get())
}
