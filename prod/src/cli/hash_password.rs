//! `hash-password`: what a configuration keeps of a password.

use std::io::{self, IsTerminal};

use portcullis::credentials::{Hashed, PASSWORD_MAX, ROUNDS};

use super::exit::Failure;

/// Reads one line and prints its hash; refuses what no login could ever match.
pub fn hash_password(drawn: bool) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        eprintln!("Type the password, then Enter (it shows):");
    }
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(Failure::wrong)?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() || password.len() > PASSWORD_MAX {
        return Err(Failure::wrong(format!(
            "a password has 1 to {PASSWORD_MAX} bytes, on one line"
        )));
    }
    let hashed = match drawn {
        true => Hashed::salted(password),
        false => Hashed::stretched(password, ROUNDS),
    };
    println!("{hashed}");
    Ok(())
}
