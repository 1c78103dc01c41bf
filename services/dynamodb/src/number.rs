//! Decimal numbers of 38 significant digits, as DynamoDB stores them.
//!
//! A number is `± mantissa × 10^exponent`, kept normalised: the mantissa has no trailing decimal zero, and zero has one
//! form. Equality of values is therefore equality of fields. Magnitudes go from `1E-130` to
//! `9.9999999999999999999999999999999999999E+125`.
//!
//! The encoding for sort keys ([`Number::sort_bytes`]) orders bytewise as the numbers order.

use std::cmp::Ordering;
use std::fmt;

/// Most significant digits a number may have.
pub const DIGITS_MAX: u32 = 38;
/// Largest exponent of the leading digit.
const MAGNITUDE_MAX: i32 = 125;
/// Smallest exponent of the leading digit.
const MAGNITUDE_MIN: i32 = -130;
/// First mantissa that needs more than 38 digits.
const MANTISSA_END: u128 = 10u128.pow(DIGITS_MAX);

/// A decimal number of at most 38 significant digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number {
    // Two halves instead of one u128: alignment 8 keeps `Value` at 32 bytes.
    hi: u64,
    lo: u64,
    exponent: i16,
    negative: bool,
}

/// Why a text or a sum is not a number that DynamoDB stores.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// The text is empty.
    #[error("The parameter cannot be converted to a numeric value")]
    Empty,
    /// The text is no number.
    #[error("The parameter cannot be converted to a numeric value: {0}")]
    NotNumeric(String),
    /// The magnitude is above `9.99…E+125`.
    #[error("Number overflow. Attempting to store a number with magnitude larger than supported range")]
    Overflow,
    /// The magnitude is below `1E-130`.
    #[error("Number underflow. Attempting to store a number with magnitude smaller than supported range")]
    Underflow,
    /// More than 38 significant digits.
    #[error("Attempting to store more than 38 significant digits in a Number")]
    TooManyDigits,
}

impl Number {
    /// Zero.
    pub const ZERO: Number = Number { hi: 0, lo: 0, exponent: 0, negative: false };

    /// Reads a number: `[+-] digits [. digits] [e [+-] digits]`.
    ///
    /// # Errors
    /// As [`NumberError`] says; overflow and underflow are told before the number of digits, as the service does.
    pub fn parse(text: &str) -> Result<Number, NumberError> {
        if text.is_empty() {
            return Err(NumberError::Empty);
        }
        let parts = Scanned::scan(text.as_bytes()).ok_or_else(|| NumberError::NotNumeric(text.to_owned()))?;
        parts.number()
    }

    fn from_parts(negative: bool, mantissa: u128, exponent: i64) -> Result<Number, NumberError> {
        if mantissa == 0 {
            return Ok(Number::ZERO);
        }
        let (mut mantissa, mut exponent) = (mantissa, exponent);
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent += 1;
        }
        let magnitude = exponent + i64::from(mantissa.ilog10());
        if magnitude > i64::from(MAGNITUDE_MAX) {
            return Err(NumberError::Overflow);
        }
        if magnitude < i64::from(MAGNITUDE_MIN) {
            return Err(NumberError::Underflow);
        }
        if mantissa >= MANTISSA_END {
            return Err(NumberError::TooManyDigits);
        }
        // The magnitude is within ±130 and the mantissa within 38 digits, so the exponent fits.
        Ok(Number { hi: (mantissa >> 64) as u64, lo: mantissa as u64, exponent: exponent as i16, negative })
    }

    fn mantissa(&self) -> u128 {
        (u128::from(self.hi) << 64) | u128::from(self.lo)
    }

    /// Whether the number is zero.
    pub fn is_zero(&self) -> bool {
        self.hi == 0 && self.lo == 0
    }

    /// Exponent of the leading digit; meaningless for zero.
    fn magnitude(&self) -> i32 {
        i32::from(self.exponent) + self.mantissa().ilog10() as i32
    }

    /// The same number with the other sign.
    #[must_use]
    pub fn negated(self) -> Number {
        Number { negative: !self.negative && !self.is_zero(), ..self }
    }

    /// The exact sum.
    ///
    /// # Errors
    /// `Overflow`, `Underflow`, `TooManyDigits` when the exact result is no DynamoDB number.
    pub fn plus(self, other: Number) -> Result<Number, NumberError> {
        if self.is_zero() {
            return Ok(other);
        }
        if other.is_zero() {
            return Ok(self);
        }
        let (high, low) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let shift = (i32::from(high.exponent) - i32::from(low.exponent)) as u32;
        // When the shifted mantissa does not fit 128 bits it is above 3.4e38, and low's last digit (never zero) stays:
        // the sum has more than 38 digits, whatever the signs. The magnitude is told first, as for a parsed number.
        let shifted = 10u128.checked_pow(shift).and_then(|p| high.mantissa().checked_mul(p));
        let Some(shifted) = shifted else { return Err(NumberError::TooManyDigits) };
        let (a, b) = (shifted, low.mantissa());
        let exponent = i64::from(low.exponent);
        if high.negative == low.negative {
            let sum = a.checked_add(b).ok_or(NumberError::TooManyDigits)?;
            return Number::from_parts(high.negative, sum, exponent);
        }
        match a.cmp(&b) {
            Ordering::Equal => Ok(Number::ZERO),
            Ordering::Greater => Number::from_parts(high.negative, a - b, exponent),
            Ordering::Less => Number::from_parts(low.negative, b - a, exponent),
        }
    }

    /// The exact difference.
    ///
    /// # Errors
    /// As [`Number::plus`].
    pub fn minus(self, other: Number) -> Result<Number, NumberError> {
        self.plus(other.negated())
    }

    /// Bytes that the number counts for in an item: one per pair of digits at even places, one more, one for a minus.
    pub fn size_bytes(&self) -> usize {
        if self.is_zero() {
            return 1;
        }
        let pairs = self.magnitude().div_euclid(2) - i32::from(self.exponent).div_euclid(2) + 1;
        pairs as usize + 1 + usize::from(self.negative)
    }

    /// The number as whole seconds or counts, when it is an integer that fits.
    pub fn to_i64(&self) -> Option<i64> {
        if self.is_zero() {
            return Some(0);
        }
        let scale = u32::try_from(self.exponent).ok()?;
        let magnitude = i128::try_from(self.mantissa()).ok()?.checked_mul(10i128.checked_pow(scale)?)?;
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// Appends bytes that order as the numbers order; no encoding is a prefix of another.
    ///
    /// Sign class, exponent of the leading digit, digit pairs from the left (each plus one), a zero byte; the part after
    /// the sign class is inverted for negative numbers.
    pub fn sort_bytes(&self, out: &mut Vec<u8>) {
        if self.is_zero() {
            out.push(2);
            return;
        }
        let flip = if self.negative { 0xff } else { 0 };
        out.push(if self.negative { 1 } else { 3 });
        out.push((self.magnitude() - MAGNITUDE_MIN) as u8 ^ flip);
        // Left-align: 38 digits, most significant first.
        let mut rest = self.mantissa() * 10u128.pow(DIGITS_MAX - 1 - self.mantissa().ilog10());
        let mut unit = MANTISSA_END / 100;
        while rest > 0 {
            out.push(((rest / unit) as u8 + 1) ^ flip);
            rest %= unit;
            unit = (unit / 100).max(1);
        }
        out.push(flip);
    }

    /// Appends the bytes that the service has the number in: a head of sign and exponent of a hundred, then digit pairs, each
    /// plus one, or taken from 101 for a negative number, which ends with 102 where there is room.
    pub fn service_bytes(&self, out: &mut Vec<u8>) {
        if self.is_zero() {
            out.push(0x80);
            return;
        }
        let mut digits = self.mantissa().to_string().into_bytes();
        let exponent = self.magnitude() + 1;
        let padded = exponent.rem_euclid(2);
        if padded == 1 {
            digits.insert(0, b'0');
        }
        // From -64 for the smallest hundred; the sign is in the highest bit.
        let head = ((exponent + padded) / 2 - 64) as u8;
        out.push(if self.negative { !head } else { head });
        let pairs = digits.len().div_ceil(2);
        for pair in digits.chunks(2) {
            let value = (pair[0] - b'0') * 10 + pair.get(1).map_or(0, |d| d - b'0');
            out.push(if self.negative { 101 - value } else { value + 1 });
        }
        if self.negative && pairs < 20 {
            out.push(102);
        }
    }

    /// Appends the compact storage form: a head (sign, length of the mantissa), the exponent, the mantissa's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mantissa = self.mantissa();
        let length = (128 - mantissa.leading_zeros()).div_ceil(8) as usize;
        out.push(length as u8 | if self.negative { 0x80 } else { 0 });
        if length > 0 {
            out.extend_from_slice(&self.exponent.to_be_bytes());
            out.extend_from_slice(&mantissa.to_le_bytes()[..length]);
        }
    }

    /// Reads what [`Number::encode`] wrote and moves `input` past it; `None` when the bytes are no such number.
    pub fn decode(input: &mut &[u8]) -> Option<Number> {
        let (&head, rest) = input.split_first()?;
        let length = usize::from(head & 0x7f);
        if length == 0 {
            *input = rest;
            return Some(Number::ZERO);
        }
        let (exponent, rest) = rest.split_first_chunk::<2>()?;
        let bytes = rest.get(..length)?;
        let mut wide = [0u8; 16];
        wide.get_mut(..length)?.copy_from_slice(bytes);
        *input = &rest[length..];
        let number =
            Number::from_parts(head & 0x80 != 0, u128::from_le_bytes(wide), i64::from(i16::from_be_bytes(*exponent)));
        number.ok()
    }
}

/// The parts of a number's text.
struct Scanned<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Scanned<'a> {
    fn scan(text: &'a [u8]) -> Option<Scanned<'a>> {
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let (whole, rest) = digits(rest);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => digits(rest),
            rest => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => scan_exponent(rest)?,
            _ => return None,
        };
        Some(Scanned { negative, whole, fraction, exponent })
    }

    fn number(&self) -> Result<Number, NumberError> {
        let significant = || self.whole.iter().chain(self.fraction).skip_while(|d| **d == b'0');
        let length = significant().count();
        let trailing = self.whole.iter().chain(self.fraction).rev().take_while(|d| **d == b'0').count();
        if length == 0 {
            return Ok(Number::ZERO);
        }
        let kept = length - trailing;
        let exponent = self.exponent - self.fraction.len() as i64 + trailing as i64;
        let magnitude = exponent + kept as i64 - 1;
        if magnitude > i64::from(MAGNITUDE_MAX) {
            return Err(NumberError::Overflow);
        }
        if magnitude < i64::from(MAGNITUDE_MIN) {
            return Err(NumberError::Underflow);
        }
        if kept > DIGITS_MAX as usize {
            return Err(NumberError::TooManyDigits);
        }
        let mantissa = significant().take(kept).fold(0u128, |m, d| m * 10 + u128::from(d - b'0'));
        Number::from_parts(self.negative, mantissa, exponent)
    }
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// The exponent, held within bounds that already mean overflow or underflow.
fn scan_exponent(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        rest => (1, rest),
    };
    let (number, rest) = digits(rest);
    if number.is_empty() || !rest.is_empty() {
        return None;
    }
    // A body is at most a few MiB of digits, far below this bound.
    let value = number.iter().fold(0i64, |v, d| (v * 10 + i64::from(d - b'0')).min(1_000_000_000_000));
    Some(sign * value)
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let class = |n: &Number| if n.is_zero() { 0 } else { 1 - 2 * i8::from(n.negative) };
        class(self).cmp(&class(other)).then_with(|| {
            if self.is_zero() {
                return Ordering::Equal;
            }
            let aligned = |n: &Number| n.mantissa() * 10u128.pow(DIGITS_MAX - 1 - n.mantissa().ilog10());
            let ordering = self.magnitude().cmp(&other.magnitude()).then_with(|| aligned(self).cmp(&aligned(other)));
            if self.negative { ordering.reverse() } else { ordering }
        })
    }
}

/// Plain decimal notation without an exponent, as the service prints numbers.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.mantissa().to_string();
        let exponent = i32::from(self.exponent);
        if self.negative {
            f.write_str("-")?;
        }
        if exponent >= 0 {
            f.write_str(&digits)?;
            return (0..exponent).try_for_each(|_| f.write_str("0"));
        }
        let point = digits.len() as i32 + exponent;
        if point > 0 {
            let (whole, fraction) = digits.split_at(point as usize);
            return write!(f, "{whole}.{fraction}");
        }
        f.write_str("0.")?;
        (point..0).try_for_each(|_| f.write_str("0"))?;
        f.write_str(&digits)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Number {
        Number::from_parts(value < 0, u128::from(value.unsigned_abs()), 0).unwrap_or(Number::ZERO)
    }
}

#[cfg(test)]
mod tests;
