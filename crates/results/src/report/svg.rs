//! The few shapes that our plots need, as SVG. Text is spelled so that it stays text; class names
//! are ours.

use crate::render::escape::html;

/// Where text begins, seen from its point.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture that grows downwards.
#[derive(Debug, Default)]
pub(super) struct Svg {
    body: String,
}

/// The width of every picture, in units that are pixels where the page is wide enough.
pub(super) const WIDTH: f64 = 820.0;

impl Svg {
    /// A rectangle; a title is shown where the pointer rests on it.
    pub(super) fn rect(&mut self, [x, y, width, height]: [f64; 4], class: &str, title: &str) {
        self.body += &format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"{class}\">{}</rect>\n",
            titled(title)
        );
    }

    /// A rectangle that is seen through, from 0 (not at all there) to 1.
    pub(super) fn shade(&mut self, [x, y, width, height]: [f64; 4], opacity: f64, title: &str) {
        self.body += &format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"shade\" fill-opacity=\"{:.3}\">{}</rect>\n",
            opacity.clamp(0.0, 1.0),
            titled(title)
        );
    }

    /// A line between two points.
    pub(super) fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], class: &str) {
        self.body += &format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>\n"
        );
    }

    /// A dot.
    pub(super) fn dot(&mut self, [x, y]: [f64; 2], class: &str, title: &str) {
        self.body += &format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" class=\"{class}\">{}</circle>\n",
            titled(title)
        );
    }

    /// A line through points; closed, it is an area.
    pub(super) fn path(&mut self, points: &[[f64; 2]], closed: bool, class: &str) {
        let mut data = String::new();
        for (index, [x, y]) in points.iter().enumerate() {
            data += &format!("{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
        }
        let end = if closed { "Z" } else { "" };
        self.body += &format!("<path d=\"{data}{end}\" class=\"{class}\"/>\n");
    }

    /// Text on a line.
    pub(super) fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.body += &format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>\n",
            html(text)
        );
    }

    /// A legend from `y` on: a box of each class with its name, in as many lines as it takes. Gives
    /// the place below it.
    pub(super) fn legend<'a>(
        &mut self,
        mut y: f64,
        entries: impl IntoIterator<Item = (String, &'a str)>,
    ) -> f64 {
        let mut x = 0.0;
        for (class, name) in entries {
            let name = shortened(name, WIDTH - 40.0);
            let width = 18.0 + text_width(&name) + 12.0;
            if x > 0.0 && x + width > WIDTH {
                x = 0.0;
                y += 20.0;
            }
            self.rect([x, y, 12.0, 12.0], &class, "");
            self.text([x + 18.0, y + 10.5], Anchor::Start, "t", &name);
            x += width;
        }
        y + 24.0
    }

    /// The picture's text, `height` units high; `label` says what it shows to those who do not see.
    pub(super) fn finish(self, height: f64, label: &str) -> String {
        format!(
            "<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n",
            html(label),
            self.body
        )
    }
}

fn titled(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!("<title>{}</title>", html(title)) }
}

/// About how wide text is, in the units of a picture, in the widest of the fonts that pages have.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars().map(character_width).sum()
}

fn character_width(character: char) -> f64 {
    match character {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | ' ' => 4.2,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 12.0,
        'A'..='Z' | '<' | '>' | '=' | '+' | '#' => 8.6,
        character if character.is_ascii() => 7.0,
        _ => 12.0,
    }
}

/// Text that is about so wide at most.
pub(super) fn shortened(text: &str, most: f64) -> String {
    if text_width(text) <= most {
        return text.to_owned();
    }
    let mut width = character_width('\u{2026}');
    let fits = |character: &char| {
        width += character_width(*character);
        width <= most
    };
    text.chars().take_while(fits).chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_a_width_and_not_to_a_number() {
        assert_eq!(shortened("short", 100.0), "short");
        let (wide, narrow) = (shortened(&"W".repeat(99), 100.0), shortened(&"i".repeat(99), 100.0));
        assert!(wide.ends_with('\u{2026}') && narrow.ends_with('\u{2026}'));
        assert!(text_width(&wide) <= 100.0 && narrow.chars().count() > 2 * wide.chars().count());
    }
}
