//! Numbers as they are typed.

/// A number that single precision can hold; infinity only where it is written as such.
pub(super) fn number(text: &str) -> Result<f32, String> {
    let wide: f64 = text.trim().parse().map_err(|_| "write a number, for example 0.5")?;
    match wide as f32 {
        narrow if narrow.is_infinite() && !text.to_ascii_lowercase().contains("inf") => {
            Err(format!("it must be between {:e} and {:e}", f32::MIN, f32::MAX))
        }
        narrow => Ok(narrow),
    }
}

/// A whole number that is not negative.
pub(super) fn whole<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let text = text.trim();
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit()) {
        return Err("write a whole number, 0 or more".to_owned());
    }
    let number = text.parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| "the number is too large".to_owned())
}
