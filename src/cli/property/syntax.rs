//! systemd's ways to write a number, a size, a share, a time, a signal and lists of such, read the way it reads them.
//!
//! No crate reads these: the spans of humantime, for one, have another grammar (no bare seconds, no `infinity`, no
//! fractions), and a text that systemd-run takes must mean the same here.

use std::net::IpAddr;
use std::str::FromStr;

use nix::sys::signal::Signal;

/// What was read, or what is wrong with the text.
pub type Parsed<T> = Result<T, String>;

pub fn boolean(text: &str) -> Parsed<bool> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is_one_of(&["1", "yes", "y", "true", "t", "on"]) {
        Ok(true)
    } else if is_one_of(&["0", "no", "n", "false", "f", "off"]) {
        Ok(false)
    } else {
        Err(format!("`{text}` is neither yes nor no"))
    }
}

/// A number as C and Python write it: `0x` is hexadecimal, `0b` binary, `0o` and a leading 0 octal.
pub fn signed(text: &str) -> Parsed<i128> {
    let number = text.trim_start();
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', b'o' | b'O', ..] => (&digits[2..], 8),
        [b'0', b'b' | b'B', ..] => (&digits[2..], 2),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return Err(format!("`{text}` is not a number"));
    }
    let magnitude = u64::from_str_radix(digits, radix).map_err(|fault| match fault.kind() {
        std::num::IntErrorKind::PosOverflow => format!("{text} is more than 64 bits hold"),
        _ => format!("`{text}` is not a number"),
    })?;
    Ok(sign * i128::from(magnitude))
}

pub fn integer(text: &str) -> Parsed<u64> {
    u64::try_from(signed(text)?).map_err(|_| format!("{text} is negative"))
}

/// An integer from `range`, both ends included.
pub fn within(text: &str, range: (u64, u64)) -> Parsed<u64> {
    let (least, most) = range;
    match integer(text)? {
        number if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{text} is not between {least} and {most}")),
    }
}

/// Bytes: numbers with suffixes from large to small, `1.5G` or `1G 512M`.
pub fn size(text: &str, base: u64) -> Parsed<u64> {
    const SUFFIXES: [&str; 8] = ["E", "P", "T", "G", "M", "K", "B", ""];
    let too_large = || format!("{text} is more than 64 bits hold");
    let mut allowed = 0; // a suffix must be smaller than the one before
    let mut total: u64 = 0;
    let mut rest = text.trim_start();
    loop {
        let amount = Amount::read(rest)?;
        if amount.whole.is_empty() {
            return Err(format!("a digit is missing before the point of `{rest}`"));
        }
        let (word, after) = unit_word(amount.rest.trim_start());
        let Some(at) = SUFFIXES.iter().position(|suffix| *suffix == word) else {
            return Err(format!("`{word}` is not one of the suffixes K, M, G, T, P and E"));
        };
        if at < allowed {
            return Err(format!("in `{text}` a suffix does not follow a larger one"));
        }
        allowed = at + 1;
        let factor = base.pow(6u32.saturating_sub(at as u32));
        total = amount
            .whole_of(factor)
            .and_then(|part| total.checked_add(part))
            .and_then(|total| total.checked_add(amount.fraction_of(factor)))
            .ok_or_else(too_large)?;
        rest = after;
        if rest.is_empty() {
            return Ok(total);
        }
        rest = rest.trim_start();
    }
}

/// Microseconds: numbers with units, added up; a number alone is in seconds.
pub fn span(text: &str) -> Parsed<u64> {
    const SECOND: u64 = 1_000_000;
    if text.trim() == "infinity" {
        return Ok(u64::MAX);
    }
    let mut total: u64 = 0;
    let mut rest = text.trim_start();
    loop {
        let amount = Amount::read(rest)?;
        if amount.fraction == Some("") {
            return Err(format!("a digit is missing after the point of `{rest}`"));
        }
        let (word, after) = unit_word(amount.rest.trim_start());
        let unit = match word {
            "" if amount.rest.starts_with(|c: char| !c.is_whitespace()) => {
                return Err(format!("`{text}` is not a time"));
            }
            "" => SECOND,
            _ => unit_of_time(word).ok_or_else(|| format!("`{word}` is not a unit of time"))?,
        };
        total = amount
            .whole_of(unit)
            .and_then(|part| total.checked_add(part))
            .and_then(|total| total.checked_add(amount.digits_of(unit)))
            .filter(|total| *total < u64::MAX) // which would be infinity
            .ok_or_else(|| format!("{text} is more than 64 bits of microseconds hold"))?;
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(total);
        }
    }
}

fn unit_of_time(word: &str) -> Option<u64> {
    Some(match word {
        "us" | "usec" | "μs" | "µs" => 1,
        "ms" | "msec" => 1_000,
        "s" | "sec" | "second" | "seconds" => 1_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000,
        "h" | "hr" | "hour" | "hours" => 3_600_000_000,
        "d" | "day" | "days" => 86_400_000_000,
        "w" | "week" | "weeks" => 604_800_000_000,
        "M" | "month" | "months" => 2_629_800_000_000,
        "y" | "year" | "years" => 31_557_600_000_000,
        _ => return None,
    })
}

/// A decimal number at the start of a text; its fraction is what follows a point.
struct Amount<'a> {
    whole: &'a str,
    fraction: Option<&'a str>,
    rest: &'a str,
}

impl<'a> Amount<'a> {
    fn read(from: &'a str) -> Parsed<Amount<'a>> {
        if from.starts_with('-') {
            return Err(format!("`{from}` is negative"));
        }
        let (whole, rest) = split_digits(from.strip_prefix('+').unwrap_or(from));
        let (fraction, rest) = match rest.strip_prefix('.').map(split_digits) {
            Some((fraction, rest)) => (Some(fraction), rest),
            None => (None, rest),
        };
        if whole.is_empty() && fraction.is_none_or(str::is_empty) {
            return Err(match from {
                "" => "a number is missing".into(),
                _ => format!("a number is missing before `{from}`"),
            });
        }
        Ok(Amount { whole, fraction, rest })
    }

    /// So many of `unit`, the fraction left out.
    fn whole_of(&self, unit: u64) -> Option<u64> {
        let whole: u64 = if self.whole.is_empty() { 0 } else { self.whole.parse().ok()? };
        whole.checked_mul(unit)
    }

    /// The fraction in floating point, as systemd has it for sizes, so that no byte differs.
    fn fraction_of(&self, factor: u64) -> u64 {
        let digits = self.fraction.unwrap_or_default();
        let number: f64 = digits.parse().unwrap_or(0.0);
        (digits.bytes().fold(number, |number, _| number / 10.0) * factor as f64) as u64
    }

    /// The fraction digit by digit, as systemd has it for times.
    fn digits_of(&self, unit: u64) -> u64 {
        let mut place = unit;
        let digit_at = |digit: u8| {
            place /= 10;
            u64::from(digit - b'0') * place
        };
        self.fraction.unwrap_or_default().bytes().map(digit_at).sum()
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn unit_word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_alphabetic()).unwrap_or(text.len()))
}

/// The signs of shares, each with the decimal places that may stand before it.
const SHARES: [(char, usize); 3] = [('%', 2), ('‰', 1), ('‱', 0)];

pub fn is_share(text: &str) -> bool {
    text.ends_with(SHARES.map(|(sign, _)| sign))
}

/// A share, in parts of ten thousand.
pub fn share(text: &str) -> Parsed<u64> {
    let wrong = || format!("`{text}` is not a percentage with at most two decimal places");
    let (number, places) = SHARES
        .iter()
        .find_map(|&(sign, places)| Some((text.strip_suffix(sign)?, places)))
        .ok_or_else(wrong)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_fraction = fraction.len() <= places && fraction.bytes().all(|b| b.is_ascii_digit());
    if !is_fraction || number.ends_with('.') {
        return Err(wrong());
    }
    let fraction: u64 = format!("{fraction:0<places$}").parse().unwrap_or(0);
    let whole = integer(whole)?.checked_mul(10u64.pow(places as u32));
    // systemd keeps it in a C int.
    whole
        .and_then(|whole| whole.checked_add(fraction))
        .filter(|parts| *parts <= i32::MAX as u64)
        .ok_or_else(|| format!("{text} is too much"))
}

/// A signal by number or name, `SIG` or not, the real-time ones counted from `RTMIN` or `RTMAX`.
pub fn signal(text: &str) -> Parsed<i32> {
    // As the C library of systemd counts them, which keeps the kernel's first two to itself.
    const REAL_TIME: (u64, u64) = (34, 64);
    let (first, last) = REAL_TIME;
    let unknown = || format!("`{text}` is not a signal");
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return within(text, (1, last)).map(|number| number as i32);
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Ok(signal) = Signal::from_str(&format!("SIG{name}")) {
        return Ok(signal as i32);
    }
    let offset = |from: &str, sign: char| match name.strip_prefix(from)? {
        "" => Some(0),
        rest => within(rest.strip_prefix(sign)?, (0, last - first)).ok(),
    };
    let number = offset("RTMIN", '+').map(|up| first + up);
    let number = number.or_else(|| offset("RTMAX", '-').map(|down| last - down));
    number.map(|number| number as i32).ok_or_else(unknown)
}

/// Words between spaces; quotes keep spaces in a word, a backslash takes the character after it as it is.
pub fn words(text: &str) -> Parsed<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (_, '\\') => {
                let literal = characters.next().ok_or_else(|| format!("`{text}` ends in a backslash"))?;
                word.get_or_insert_default().push(literal);
            }
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (Some(mark), _) if mark == character => quote = None,
            (None, _) if character.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err(format!("a quote is not closed in `{text}`"));
    }
    words.extend(word);
    Ok(words)
}

/// Indices and ranges of them as a mask, lowest bit first.
pub fn index_set(text: &str) -> Parsed<Vec<u8>> {
    const MOST: u64 = 8191; // systemd's own end, that of the largest Linux
    let mut mask = Vec::new();
    let parts = text.split(|c: char| c == ',' || c.is_ascii_whitespace());
    for part in parts.filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (within(first, (0, MOST))?, within(last, (0, MOST))?);
        if first > last {
            return Err(format!("the range {part} ends before it starts"));
        }
        for index in first as usize..=last as usize {
            if mask.len() <= index / 8 {
                mask.resize(index / 8 + 1, 0);
            }
            mask[index / 8] |= 1 << (index % 8);
        }
    }
    Ok(mask)
}

const IPV4: i32 = nix::libc::AF_INET;
const IPV6: i32 = nix::libc::AF_INET6;

/// The addresses that begin with the first `length` bits of `address`.
pub struct Prefix {
    pub family: i32,
    pub address: Vec<u8>,
    pub length: u32,
}

/// An address, one with the length of its prefix, or a word for some of them.
pub fn prefixes(text: &str) -> Parsed<Vec<Prefix>> {
    match text {
        "any" => both("0.0.0.0/0", "::/0"),
        "localhost" => both("127.0.0.0/8", "::1/128"),
        "link-local" => both("169.254.0.0/16", "fe80::/64"),
        "multicast" => both("224.0.0.0/4", "ff00::/8"),
        _ => Ok(vec![prefix(text)?]),
    }
}

fn both(ipv4: &str, ipv6: &str) -> Parsed<Vec<Prefix>> {
    Ok(vec![prefix(ipv4)?, prefix(ipv6)?])
}

fn prefix(text: &str) -> Parsed<Prefix> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| format!("`{text}` is not an IP address"))?;
    let (family, address) = match address {
        IpAddr::V4(address) => (IPV4, address.octets().to_vec()),
        IpAddr::V6(address) => (IPV6, address.octets().to_vec()),
    };
    let bits = address.len() as u64 * 8;
    let length = length.map_or(Ok(bits), |length| within(length, (0, bits)))?;
    Ok(Prefix { family, address, length: length as u32 })
}

/// Which sockets may be bound: 0 stands for any family, any protocol, and all ports.
pub struct Bind {
    pub family: i32,
    pub protocol: i32,
    pub ports: u16,
    pub first_port: u16,
}

/// `[ipv4:|ipv6:][tcp:|udp:]PORT`, where the port may be a range, or `any`, or left out after another part.
pub fn socket_bind(text: &str) -> Parsed<Bind> {
    let mut bind = Bind { family: 0, protocol: 0, ports: 0, first_port: 0 };
    let mut parts = text.split(':').peekable();
    let family = |part: &str| [("ipv4", IPV4), ("ipv6", IPV6)].iter().find(|it| it.0 == part).map(|it| it.1);
    let protocol = |part: &str| {
        [("tcp", nix::libc::IPPROTO_TCP), ("udp", nix::libc::IPPROTO_UDP)]
            .iter()
            .find(|it| it.0 == part)
            .map(|it| it.1)
    };
    if let Some(number) = parts.peek().copied().and_then(family) {
        (bind.family, _) = (number, parts.next());
    }
    if let Some(number) = parts.peek().copied().and_then(protocol) {
        (bind.protocol, _) = (number, parts.next());
    }
    match parts.next() {
        None | Some("any") => {}
        Some(range) => {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let port = |text| within(text, (0, u16::MAX.into())).map(|port| port as u16);
            let (first, last) = (port(first)?, port(last)?);
            if first > last {
                return Err(format!("the range {range} ends before it starts"));
            }
            // All 65536 of them wrap to 0, which says the same.
            (bind.first_port, bind.ports) = (first, (last - first).wrapping_add(1));
        }
    }
    match parts.next() {
        Some(more) => Err(format!("`{more}` stands after the port")),
        None => Ok(bind),
    }
}
