//! Zigzag varints, as inside records: at most 5 bytes for an i32, 10 for an i64.

use bytes::Buf;

/// Reads an unsigned LEB128 of at most `max_bytes`; `None` when cut short, too long or out of 64 bits.
fn read_unsigned(buf: &mut impl Buf, max_bytes: u32) -> Option<u64> {
    let mut value = 0u64;
    for index in 0..max_bytes {
        let byte = buf.try_get_u8().ok()?;
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * index;
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Reads a zigzag i64.
pub(super) fn read_i64(buf: &mut impl Buf) -> Option<i64> {
    let raw = read_unsigned(buf, 10)?;
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

/// Reads a zigzag i32; `None` also when the number does not fit.
pub(super) fn read_i32(buf: &mut impl Buf) -> Option<i32> {
    let raw = u32::try_from(read_unsigned(buf, 5)?).ok()?;
    Some((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

/// Appends a zigzag i64 (an i32 has the same encoding).
pub(super) fn write(out: &mut Vec<u8>, value: i64) {
    let mut raw = (value << 1 ^ value >> 63) as u64;
    while raw > 0x7f {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// How many bytes [`write`] appends.
pub(super) fn size(value: i64) -> usize {
    let raw = (value << 1 ^ value >> 63) as u64;
    (64 - (raw | 1).leading_zeros() as usize).div_ceil(7)
}
