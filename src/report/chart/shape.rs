//! Marks told apart by shape as well as by colour.

/// The outline of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    Down,
    Cross,
}

impl Shape {
    /// One of the six for each series, in turn.
    pub(in crate::report) fn of_series(number: usize) -> Self {
        [Self::Circle, Self::Square, Self::Triangle, Self::Diamond, Self::Down, Self::Cross][number % 6]
    }

    /// As the data of a path around (x, y).
    pub(in crate::report) fn outline(self, x: f64, y: f64, size: f64) -> String {
        let polygon = |corners: &[(f64, f64)]| {
            let points: Vec<String> = corners.iter().map(|(dx, dy)| format!("{:.1} {:.1}", x + dx * size, y + dy * size)).collect();
            format!("M{}Z", points.join("L"))
        };
        match self {
            Self::Circle => {
                let r = size * 0.9;
                format!("M{:.1} {y:.1}a{r:.1} {r:.1} 0 1 0 {:.1} 0a{r:.1} {r:.1} 0 1 0 {:.1} 0Z", x - r, 2.0 * r, -2.0 * r)
            }
            Self::Square => polygon(&[(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]),
            Self::Triangle => polygon(&[(0.0, -1.1), (1.0, 0.8), (-1.0, 0.8)]),
            Self::Diamond => polygon(&[(0.0, -1.2), (1.2, 0.0), (0.0, 1.2), (-1.2, 0.0)]),
            Self::Down => polygon(&[(0.0, 1.1), (1.0, -0.8), (-1.0, -0.8)]),
            Self::Cross => polygon(&[
                (-1.1, -0.4),
                (-0.4, -0.4),
                (-0.4, -1.1),
                (0.4, -1.1),
                (0.4, -0.4),
                (1.1, -0.4),
                (1.1, 0.4),
                (0.4, 0.4),
                (0.4, 1.1),
                (-0.4, 1.1),
                (-0.4, 0.4),
                (-1.1, 0.4),
            ]),
        }
    }
}

/// The sign of a series in a legend: a piece of its line where it has one, and its mark where it has one.
pub(in crate::report) fn key(line: Option<&str>, mark: Option<(&str, Shape)>) -> String {
    let mut svg = String::from("<svg viewBox=\"0 0 22 12\" aria-hidden=\"true\">");
    if let Some(style) = line {
        svg.push_str(&format!("<line class=\"{style}\" x1=\"0\" x2=\"22\" y1=\"6\" y2=\"6\"/>"));
    }
    if let Some((style, shape)) = mark {
        svg.push_str(&format!("<path class=\"{style}\" d=\"{}\"/>", shape.outline(11.0, 6.0, 4.5)));
    }
    svg + "</svg>"
}
