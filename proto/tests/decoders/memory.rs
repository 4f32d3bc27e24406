//! How much memory a thread takes for something.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The allocator of the system, with the bytes that each thread has now, and
/// had at most.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn add(bytes: usize, sign: isize) {
    let bytes = sign * isize::try_from(bytes).expect("memory ends before that");
    // A thread that ends has none of its own any more.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

// SAFETY: all is done by the allocator of the system; what is counted beside it
// allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size(), 1);
        // SAFETY: the caller keeps to what the system asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        add(layout.size(), -1);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

/// The bytes that this thread has now.
pub fn held() -> isize {
    HELD.get().0
}

/// What comes of something, and how many bytes more than before it took at one
/// time.
pub fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = held();
    HELD.set((before, before));
    let done = work();
    (done, usize::try_from(HELD.get().1 - before).unwrap_or_default())
}
