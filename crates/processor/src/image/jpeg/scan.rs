//! Scans: from coded data to coefficients (annexes F and G).

use super::bits::Bits;
use super::frame::{BLOCK, Component, Frame};
use super::huffman::Huffman;
use super::{damaged, unsupported};
use crate::error::Result;

/// Where the coefficients of a block go, by their order in the file (figure A.6).
const ZIGZAG: [u8; BLOCK] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Tables that segments define for the scans after them.
#[derive(Default)]
pub(super) struct Tables {
    quantization: [Option<[u16; BLOCK]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    /// MCUs between two restart markers; 0 for none.
    restart_interval: usize,
}

impl Tables {
    pub(super) fn read_quantization(&mut self, mut data: &[u8]) -> Result<()> {
        while let [info, rest @ ..] = data {
            let (wide, slot) = (info >> 4, usize::from(info & 15));
            let len = if wide == 0 { BLOCK } else { 2 * BLOCK };
            let (values, rest) = match (self.quantization.get_mut(slot), rest.split_at_checked(len))
            {
                (Some(slot), Some((values, rest))) if wide <= 1 => {
                    let table = slot.insert([0; BLOCK]);
                    for (index, &to) in ZIGZAG.iter().enumerate() {
                        table[usize::from(to)] = match wide {
                            0 => values[index].into(),
                            _ => u16::from_be_bytes([values[index * 2], values[index * 2 + 1]]),
                        };
                    }
                    (values, rest)
                }
                _ => return Err(damaged("a quantization table")),
            };
            if values.iter().all(|&value| value == 0) {
                return Err(damaged("a quantization table of zeros"));
            }
            data = rest;
        }
        Ok(())
    }

    pub(super) fn read_huffman(&mut self, mut data: &[u8]) -> Result<()> {
        while let [info, rest @ ..] = data {
            let slots = match info >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                class => return Err(damaged(format!("a Huffman table of class {class}"))),
            };
            let slot = slots.get_mut(usize::from(info & 15));
            let (Some(slot), Some((counts, rest))) = (slot, rest.split_first_chunk::<16>()) else {
                return Err(damaged("a Huffman table"));
            };
            let len = counts.iter().map(|&count| usize::from(count)).sum();
            let Some((values, rest)) = rest.split_at_checked(len).filter(|_| len <= 256) else {
                return Err(damaged("a Huffman table"));
            };
            *slot = Some(Huffman::new(counts, values)?);
            data = rest;
        }
        Ok(())
    }

    pub(super) fn read_restart_interval(&mut self, data: &[u8]) -> Result<()> {
        let &[high, low] = data else { return Err(damaged("a restart interval")) };
        self.restart_interval = usize::from(u16::from_be_bytes([high, low]));
        Ok(())
    }
}

/// A component's part in a scan.
struct Part<'a> {
    /// Which component of the frame.
    component: usize,
    dc: Option<&'a Huffman>,
    ac: Option<&'a Huffman>,
    /// The last DC coefficient.
    prediction: i32,
}

/// Which coefficients a scan has.
#[derive(Clone, Copy)]
struct Spectrum {
    first: usize,
    last: usize,
    /// Whether lower bits of known coefficients follow.
    refines: bool,
    /// The bit that the scan begins with.
    low: u32,
}

struct Scan<'a> {
    bits: Bits<'a>,
    progressive: bool,
    spectrum: Spectrum,
    /// Blocks left whose remaining coefficients are all zero.
    end_of_band: u32,
}

/// Decodes the scan of this header; gives how many bytes of `data` it has.
pub(super) fn decode(
    frame: &mut Frame,
    tables: &Tables,
    header: &[u8],
    data: &[u8],
) -> Result<usize> {
    let (mut parts, spectrum) = read_header(frame, tables, header)?;
    let mut scan =
        Scan { bits: Bits::new(data), progressive: frame.progressive, spectrum, end_of_band: 0 };
    let (columns, rows) = match &parts[..] {
        [only] => {
            let component = &frame.components[only.component];
            (component.width.div_ceil(8), component.height.div_ceil(8))
        }
        _ => frame.mcus(),
    };
    let single = parts.len() == 1;
    let interval = tables.restart_interval;
    for mcu in 0..columns * rows {
        if interval > 0 && mcu > 0 && mcu % interval == 0 {
            scan.bits.restart((mcu / interval - 1) as u8 & 7)?;
            scan.end_of_band = 0;
            parts.iter_mut().for_each(|part| part.prediction = 0);
        }
        let (x, y) = (mcu % columns, mcu / columns);
        for part in &mut parts {
            let component = &mut frame.components[part.component];
            let (h, v) = if single { (1, 1) } else { (component.h, component.v) };
            for block in 0..h * v {
                scan.block(component, part, x * h + block % h, y * v + block / h)?;
            }
        }
    }
    Ok(scan.bits.position())
}

/// The parts of a scan and its spectrum, from its header.
fn read_header<'a>(
    frame: &mut Frame,
    tables: &'a Tables,
    header: &[u8],
) -> Result<(Vec<Part<'a>>, Spectrum)> {
    let short = || damaged("a scan header");
    let (&count, rest) = header.split_first().ok_or_else(short)?;
    let (list, rest) = rest.split_at_checked(usize::from(count) * 2).ok_or_else(short)?;
    let &[first, last, approximation] = rest else { return Err(short()) };
    let spectrum = spectrum(frame.progressive, count, first, last, approximation)?;
    let mut parts: Vec<Part<'a>> = Vec::new();
    for &[id, slots] in list.as_chunks::<2>().0 {
        let index = frame.components.iter().position(|component| component.id == id);
        let index = index.ok_or_else(|| damaged(format!("a scan of component {id}")))?;
        if parts.iter().any(|part| part.component == index) {
            return Err(damaged(format!("component {id} twice in a scan")));
        }
        let component = &mut frame.components[index];
        if component.quantization.is_none() {
            let table = tables.quantization[component.table];
            component.quantization =
                Some(table.ok_or_else(|| damaged("a quantization table is missing"))?);
        }
        let slot =
            |tables: &'a [Option<Huffman>; 4], slot: u8| tables.get(usize::from(slot))?.as_ref();
        let (dc, ac) = (slot(&tables.dc, slots >> 4), slot(&tables.ac, slots & 15));
        parts.push(Part { component: index, dc, ac, prediction: 0 });
    }
    let blocks: usize = parts
        .iter()
        .map(|p| frame.components[p.component].h * frame.components[p.component].v)
        .sum();
    if parts.is_empty() || parts.len() > 1 && blocks > 10 {
        return Err(damaged(format!("{} components, {blocks} blocks an MCU", parts.len())));
    }
    Ok((parts, spectrum))
}

fn spectrum(progressive: bool, count: u8, first: u8, last: u8, bits: u8) -> Result<Spectrum> {
    let (high, low) = (bits >> 4, bits & 15);
    if !progressive {
        // libjpeg, too, takes these values whatever the header says.
        return Ok(Spectrum { first: 0, last: BLOCK - 1, refines: false, low: 0 });
    }
    let sound = match first {
        0 => last == 0,
        _ => first <= last && last < 64 && count == 1,
    };
    if !sound || low > 13 || high > 0 && high != low + 1 {
        return Err(unsupported(format!(
            "a scan of coefficients {first} to {last}, bits {bits:02x}"
        )));
    }
    let (first, last) = (first.into(), last.into());
    Ok(Spectrum { first, last, refines: high > 0, low: low.into() })
}

impl Part<'_> {
    fn dc(&self) -> Result<&Huffman> {
        self.dc.ok_or_else(|| damaged("a DC Huffman table is missing"))
    }

    fn ac(&self) -> Result<&Huffman> {
        self.ac.ok_or_else(|| damaged("an AC Huffman table is missing"))
    }
}

impl Scan<'_> {
    fn block(&mut self, to: &mut Component, part: &mut Part<'_>, x: usize, y: usize) -> Result<()> {
        if !self.progressive {
            let mut block = [0; BLOCK];
            self.dc_first(&mut block, part)?;
            self.sequential_ac(&mut block, part)?;
            to.transform(x, y, &block);
            return Ok(());
        }
        let blocks = to.coefficients.as_chunks_mut::<BLOCK>().0;
        let Some(block) = blocks.get_mut(y * to.blocks_w + x) else {
            return Err(damaged("a block outside the image"));
        };
        match (self.spectrum.first, self.spectrum.refines) {
            (0, false) => self.dc_first(block, part),
            (0, true) => {
                if self.bits.bit()? {
                    block[0] |= 1 << self.spectrum.low;
                }
                Ok(())
            }
            (_, false) => self.ac_first(block, part),
            (_, true) => self.ac_refine(block, part),
        }
    }

    fn dc_first(&mut self, block: &mut [i16; BLOCK], part: &mut Part<'_>) -> Result<()> {
        let size = part.dc()?.decode(&mut self.bits)?;
        if size > 15 {
            return Err(damaged(format!("a DC difference of {size} bits")));
        }
        let difference = self.bits.signed(size.into())?;
        part.prediction = part.prediction.wrapping_add(difference);
        block[0] = (part.prediction << self.spectrum.low) as i16;
        Ok(())
    }

    fn sequential_ac(&mut self, block: &mut [i16; BLOCK], part: &Part<'_>) -> Result<()> {
        let table = part.ac()?;
        let mut at = 1;
        while at < BLOCK {
            let code = table.decode(&mut self.bits)?;
            let (run, size) = (usize::from(code >> 4), code & 15);
            match (run, size) {
                (15, 0) => at += 16,
                (_, 0) => break,
                _ => {
                    at += run;
                    let value = self.bits.signed(size.into())?;
                    *coefficient(block, at)? = value as i16;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    fn ac_first(&mut self, block: &mut [i16; BLOCK], part: &Part<'_>) -> Result<()> {
        if self.end_of_band > 0 {
            self.end_of_band -= 1;
            return Ok(());
        }
        let table = part.ac()?;
        let mut at = self.spectrum.first;
        while at <= self.spectrum.last {
            let code = table.decode(&mut self.bits)?;
            let (run, size) = (u32::from(code >> 4), code & 15);
            match (run, size) {
                (15, 0) => at += 16,
                (_, 0) => {
                    self.end_of_band = (1 << run) - 1 + self.bits.get(run)?;
                    break;
                }
                _ => {
                    at += run as usize;
                    let value = self.bits.signed(size.into())?;
                    *coefficient(block, at)? = (value << self.spectrum.low) as i16;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// Adds one bit to each coefficient that is not zero and finds the ones that become so (G.1.2.3).
    fn ac_refine(&mut self, block: &mut [i16; BLOCK], part: &Part<'_>) -> Result<()> {
        let bit = 1i16 << self.spectrum.low;
        let mut at = self.spectrum.first;
        if self.end_of_band == 0 {
            let table = part.ac()?;
            while at <= self.spectrum.last {
                let code = table.decode(&mut self.bits)?;
                let (run, size) = (u32::from(code >> 4), code & 15);
                let new = match (run, size) {
                    (_, 1) if self.bits.bit()? => bit,
                    (_, 1) => -bit,
                    (15, 0) => 0,
                    (_, 0) => {
                        self.end_of_band = (1 << run) + self.bits.get(run)?;
                        break;
                    }
                    _ => return Err(damaged(format!("a new coefficient of {size} bits"))),
                };
                at = self.refine(block, at, Some(run), bit)?;
                if new != 0 {
                    *coefficient(block, at)? = new;
                }
                at += 1;
            }
        }
        if self.end_of_band > 0 {
            self.refine(block, at, None, bit)?;
            self.end_of_band -= 1;
        }
        Ok(())
    }

    /// Refines coefficients from `at` on until `zeros` zeros have been passed and the next is
    /// reached; to the end of the band for none. Gives the place of that next zero.
    fn refine(
        &mut self,
        block: &mut [i16; BLOCK],
        mut at: usize,
        mut zeros: Option<u32>,
        bit: i16,
    ) -> Result<usize> {
        while at <= self.spectrum.last {
            let value = coefficient(block, at)?;
            if *value != 0 {
                if self.bits.bit()? && *value & bit == 0 {
                    *value = value.saturating_add(if *value > 0 { bit } else { -bit });
                }
            } else if let Some(left) = &mut zeros {
                if *left == 0 {
                    break;
                }
                *left -= 1;
            }
            at += 1;
        }
        Ok(at)
    }
}

/// The coefficient at a place in the file's order.
fn coefficient(block: &mut [i16; BLOCK], at: usize) -> Result<&mut i16> {
    let to = ZIGZAG.get(at).ok_or_else(|| damaged("more than 64 coefficients in a block"))?;
    Ok(&mut block[usize::from(*to)])
}
