//! Asking for memory before it is needed.

/// Bytes that come from memory at a time, on all processors that matter here.
pub const LINE: usize = 64;

/// The first `N` of what there is to ask for.
pub struct Few<T, const N: usize> {
    all: [Option<T>; N],
    len: usize,
}

impl<T: Copy, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Few { all: [None; N], len: 0 }
    }
}

impl<T: Copy, const N: usize> Few<T, N> {
    /// Adds one, if there is one and room for it. Which there are is hard to foretell, so that is no branch, here or for
    /// those that go through them.
    #[inline]
    pub fn push(&mut self, one: Option<T>) {
        if let Some(place) = self.all.get_mut(self.len) {
            *place = one;
            self.len += usize::from(one.is_some());
        }
    }

    /// Those there are.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.all[..self.len].iter().copied().flatten()
    }
}

/// Asks for the cache lines of `value`, without waiting for them: many can be under way at a time, where loads would be
/// waited for a few at a time. A hint only; on processors without one that stable Rust knows, nothing.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = std::ptr::from_ref(value).cast::<i8>();
        let line = |at: usize| {
            #[allow(unsafe_code)]
            // SAFETY: a prefetch reads nothing that the program could see and cannot fault, whatever the address; SSE,
            // which it belongs to, is part of x86-64. The address is computed without `unsafe`, by `wrapping_add`.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(at));
            }
        };
        let mut at = 0;
        while at < size_of::<T>() {
            line(at);
            at += LINE;
        }
        // What does not begin with a line may end in one more; a number never does.
        if const { align_of::<T>() < LINE && align_of::<T>() < size_of::<T>() } {
            line(size_of::<T>().saturating_sub(1));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
