//! Arithmetic on 32-bit sequence numbers that wrap (RFC 9293 §3.4).

/// How far `a` is ahead of `b`, from -2^31 to 2^31 - 1.
#[inline]
#[must_use]
pub fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

/// Whether `a` comes after `b`.
#[inline]
#[must_use]
pub fn after(a: u32, b: u32) -> bool {
    distance(a, b) > 0
}

/// Whether `a` comes before `b`.
#[inline]
#[must_use]
pub fn before(a: u32, b: u32) -> bool {
    distance(a, b) < 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_survives_the_wrap(start: u32, step in 1u32..0x7fff_ffff) {
            let later = start.wrapping_add(step);
            prop_assert!(after(later, start) && before(start, later));
            prop_assert_eq!(distance(later, start), step as i32);
        }
    }

    #[test]
    fn a_probe_below_zero_comes_first() {
        assert!(before(0xffff_ffff, 0));
        assert_eq!(distance(0, 0xffff_ffff), 1);
    }
}
