//! What is drawn from the operating system's randomness: passwords, UUIDs, secrets.

use std::fmt::Write as _;

use ring::rand::{SecureRandom, SystemRandom};

/// A password of 100 random bits, without letters that look alike.
pub fn password() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let letter = |byte: u8| char::from(LETTERS[usize::from(byte % 32)]);
    random::<20>().into_iter().map(letter).collect()
}

/// A UUID of the random kind.
pub fn uuid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text = String::new();
    for (at, byte) in bytes.into_iter().enumerate() {
        if [4, 6, 8, 10].contains(&at) {
            text.push('-');
        }
        write!(text, "{byte:02x}").expect("a string takes whatever is written to it");
    }
    text
}

/// So many bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.expect("an operating system without randomness cannot serve TLS either");
    bytes
}
