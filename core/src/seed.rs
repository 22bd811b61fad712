//! Randomness that is handed in: a tree of seeds, and a counted generator at each leaf.
//!
//! One more agent must never change another agent's draws, so nothing shares a stream: whoever
//! needs randomness gets `seed.child(name, index).rng()`.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng};

/// A place in the tree of seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of a named, numbered part of whatever this one belongs to.
    ///
    /// FNV-1a over the three, finished by splitmix64, so that neighbours share nothing.
    pub fn child(self, name: &str, index: u64) -> Seed {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let parts = self.0.to_le_bytes().into_iter().chain(name.bytes());
        for byte in parts.chain(index.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Seed(hash ^ (hash >> 31))
    }

    /// A generator that starts here.
    pub fn rng(self) -> Rng {
        Rng { seed: self.0, drawn: 0 }
    }
}

/// A ChaCha8 stream (the same on every platform) that counts what was drawn from it.
///
/// It keeps its place in the stream and not the cipher's state, which is twenty times as large:
/// machines draw a few words an hour, and there are 180,000 of them in one simulation.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: u64,
    drawn: u64,
}

impl Rng {
    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        let mut stream = ChaCha8Rng::seed_from_u64(self.seed);
        // Positions count words of 32 bits.
        stream.set_word_pos(u128::from(self.drawn) * 2);
        self.drawn += 1;
        stream.next_u64()
    }

    /// A number in `0..n`, by multiplication and rejection, so the mapping never changes under us.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "there is no number below zero");
        loop {
            let wide = u128::from(self.draw()) * u128::from(n);
            let low = wide as u64;
            if low >= n.wrapping_neg() % n {
                return (wide >> 64) as u64;
            }
        }
    }

    /// Puts the items into an order where each is as likely as any other.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// How many 64-bit words were drawn so far.
    pub fn drawn(&self) -> u64 {
        self.drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_one_stream() {
        let mut stream = ChaCha8Rng::seed_from_u64(7);
        let mut rng = Seed(7).rng();
        for _ in 0..1_000 {
            assert_eq!(rng.draw(), stream.next_u64());
        }
    }
}
