//! Whether a rendered page holds the form that it is for.

use crate::page::{Page, View};

/// The value of the hidden field on pages that are rendered to be looked at.
pub(crate) const FORM: &str = "k3q9m1x7v5w2z8r4";

/// What the form of a page lacks, if it is a page with a form. `factor`, `choose` and `cancel` are rendered
/// with [`FORM`].
pub(crate) fn missing(view: &View<'_>, html: &str) -> Option<String> {
    // Other engines than the built-in one escape slashes.
    let html = ["&#x2f;", "&#x2F;", "&#47;"]
        .iter()
        .fold(html.to_owned(), |html, slash| html.replace(slash, "/"));
    let (fields, path): (&[&str], _) = match view.page {
        Page::Ask(asking) => {
            let fields: &[_] = match asking.work {
                Some(_) => &["identifier", "proof"],
                None => &["identifier"],
            };
            (fields, view.paths.ask().to_owned())
        }
        Page::Code { .. } => (&["code"], view.paths.code()),
        Page::Factor(_) | Page::Choose(_) | Page::Cancel(_) if !is_value(&html, FORM, |_| true) => {
            return Some("field `form`".to_owned());
        }
        Page::Factor(_) => (&["form", "response"], view.paths.factor()),
        Page::Choose(_) => (&["form", "password"], view.paths.choose().to_owned()),
        Page::Cancel(_) => (&["form"], view.paths.cancel().to_owned()),
        _ => return None,
    };
    if let Page::Ask(asking) = view.page
        && let Some(widget) = asking.widget
    {
        let has = |value: &str, attribute| is_value(&html, value, |name| name == attribute);
        if !has(widget.site_key(), "data-sitekey") {
            return Some("element with the widget's `data-sitekey`".to_owned());
        }
        if !has(widget.script(), "src") {
            return Some(format!("script `{}`", widget.script()));
        }
    }
    let is_named = |field: &&&str| is_value(&html, field, |name| name == "name");
    if let Some(field) = fields.iter().find(|field| !is_named(field)) {
        return Some(format!("field `{field}`"));
    }
    // Not in `href`: a link posts nothing. A script may look for it anywhere else.
    let posts = is_value(&html, &path, |name| name != "href");
    (!posts).then(|| format!("form that posts to `{path}`"))
}

/// Whether this is the whole value of an attribute whose name will do, in quotes of either kind or
/// without.
fn is_value(html: &str, value: &str, will_do: impl Fn(&str) -> bool) -> bool {
    html.match_indices(value).any(|(at, _)| {
        let (before, rest) = html.split_at_checked(at).unwrap_or_default();
        let after = rest.get(value.len()..).unwrap_or_default();
        let (before, ended) = match before.strip_suffix(['"', '\'']) {
            Some(bare) => (bare, after.chars().next() == before.chars().next_back()),
            None => (
                before,
                after.starts_with(|c: char| c.is_ascii_whitespace() || c == '>'),
            ),
        };
        let Some(before) = before.trim_ascii_end().strip_suffix('=') else {
            return false;
        };
        let between = |c: char| c.is_ascii_whitespace() || "\"'/<".contains(c);
        let name = before.trim_ascii_end().rsplit(between).next();
        ended && name.is_some_and(|name| will_do(&name.to_ascii_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_however_it_is_quoted() {
        let named = |html: &str| is_value(html, "form", |name| name == "name");
        for html in [
            r#"<input type="hidden" name="form" value="x">"#,
            "<input name='form'>",
            "<input name=form>",
            "<input name=form value=x>",
            "<INPUT NAME = \"form\">",
            "<p>form</p><input type=\"hidden\"name=\"form\"/>",
        ] {
            assert!(named(html), "{html}");
        }
        for html in [
            "",
            "form",
            "<form>",
            "name=form",
            "<input name=\"format\">",
            "<input name=\"a form\">",
            "<input name=\"form'>",
            "<input name=platform>",
            "<input value=\"form\">",
            "<input data-name=\"form\">",
        ] {
            assert!(!named(html), "{html}");
        }
    }
}
