//! The fuzz targets without a fuzzer: every kept seed, whole, cut and changed, the same each time. What fuzzing found lies
//! among the seeds.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::Path;

/// Changed forms of each seed; HBSNIFF_FUZZ asks for more.
const FORMS: u64 = 60;

/// Numbers without order, the same each time (Marsaglia, "Xorshift RNGs").
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// A form of the seed: bytes changed, a piece cut out, said twice or taken from another seed.
fn changed(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let (at, kind) = (random.below(bytes.len() + 1), random.below(6));
        let len = random.below((bytes.len() - at).min(64) + 1);
        match kind {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..at + len)),
            2 => {
                let piece = bytes[at..at + len].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => {
                let from = random.below(other.len() + 1);
                let piece = &other[from..other.len().min(from + 64)];
                bytes.splice(at..at + len, piece.iter().copied());
            }
            _ => {
                let value = [0, 0xff, 0x7f, 0x80, 1, random.below(256) as u8][random.below(6)];
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
        }
    }
    bytes
}

/// The kept seeds of a target, each behind its length.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let kept = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)).unwrap();
    let (mut rest, mut seeds) = (&kept[..], Vec::new());
    while let Some((length, more)) = rest.split_first_chunk() {
        let (seed, more) = more.split_at(u32::from_le_bytes(*length) as usize);
        seeds.push(seed.to_vec());
        rest = more;
    }
    seeds
}

#[test]
fn no_seed_and_no_form_of_one_breaks_a_layer() {
    let forms = std::env::var("HBSNIFF_FUZZ").map_or(FORMS, |forms| forms.parse().unwrap());
    for (name, target) in targets::TARGETS {
        let seeds = seeds(name);
        assert!(seeds.len() >= 5, "{name} has hardly any seeds");
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        target(b"");
        for seed in &seeds {
            target(seed);
            for _ in 0..forms {
                let other = &seeds[random.below(seeds.len())];
                target(&changed(seed, other, &mut random));
            }
        }
    }
}
