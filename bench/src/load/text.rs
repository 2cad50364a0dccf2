//! What values are made of: lines that look like an application's JSON, which compress about as those do.

/// A reproducible source of text and of random numbers (xorshift64*).
pub struct Text {
    state: u64,
}

const WORDS: [&str; 16] = [
    "order",
    "customer",
    "amount",
    "currency",
    "EUR",
    "status",
    "shipped",
    "created",
    "address",
    "street",
    "city",
    "Lisbon",
    "quantity",
    "sku",
    "warehouse",
    "true",
];

impl Text {
    /// The same seed gives the same text.
    pub fn new(seed: u64) -> Text {
        Text {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        }
    }

    /// The next random number, all 64 bits.
    pub fn random(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A random number in `(0, 1]`.
    pub fn fraction(&mut self) -> f64 {
        ((self.random() >> 11) as f64 + 1.0) / (1u64 << 53) as f64
    }

    /// Appends exactly `bytes` bytes: names among random digits.
    pub fn write(&mut self, out: &mut Vec<u8>, bytes: usize) {
        let end = out.len() + bytes;
        while out.len() < end {
            let word = WORDS[(self.random() % WORDS.len() as u64) as usize];
            out.extend_from_slice(format!("{{\"{word}\":\"{:08x}\"}},", self.random() as u32).as_bytes());
        }
        out.truncate(end);
    }
}
