//! The variants of an endpoint: what a shift needs of both fleets'.

use crate::fleet::{FleetSpec, VariantSpec, in_words};

/// Green with its variants in the order of blue's, so that a variant has the same place in both, and with the weights that blue's have
/// now where it says none. An error says why this green cannot take blue's place.
pub(super) fn fitted(blue: &FleetSpec, green: FleetSpec) -> Result<FleetSpec, String> {
    let has = |spec: &FleetSpec, name| spec.variant_names().any(|other| other == name);
    let is_same = blue.variants.len() == green.variants.len()
        && green.variant_names().all(|name| has(blue, name))
        && blue.variant_names().all(|name| has(&green, name));
    if !is_same {
        let said = |spec: &FleetSpec| match spec.variants.as_slice() {
            [] => "no variants".to_owned(),
            [_] => format!("the variant {}", in_words(spec.variant_names())),
            [..] => format!("the variants {}", in_words(spec.variant_names())),
        };
        return Err(format!(
            "green has {}, and the fleet in service {}: a shift moves all variants by one rule, so both fleets have the same; change \
             which there are by declaring the endpoint anew",
            said(&green),
            said(blue)
        ));
    }
    let (mut variants, mut instances) = (Vec::new(), Vec::new());
    for theirs in &blue.variants {
        for (variant, own) in green.parts().filter(|(variant, _)| variant.name == theirs.name) {
            variants.push(VariantSpec { weight: variant.weight.or(theirs.weight), ..variant.clone() });
            instances.extend_from_slice(own);
        }
    }
    if variants.is_empty() {
        return Ok(green);
    }
    Ok(FleetSpec { variants, instances, ..green })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::PlanSpec;

    fn fleet(document: Value) -> FleetSpec {
        let strategy = json!({ "type": "all_at_once", "final_bake": "1m" });
        PlanSpec::from_json(&json!({ "green": document, "strategy": strategy })).unwrap().green
    }

    fn variants(variants: &[(&str, Option<f64>, &[&str])]) -> FleetSpec {
        let variant = |(name, weight, instances): &(&str, Option<f64>, &[&str])| match weight {
            Some(weight) => json!({ "name": name, "weight": weight, "instances": instances }),
            None => json!({ "name": name, "instances": instances }),
        };
        fleet(json!({ "version": "v1", "variants": variants.iter().map(variant).collect::<Vec<_>>() }))
    }

    #[test]
    fn green_gets_blues_order_and_blues_weights_where_it_says_none() {
        let blue = variants(&[("a", Some(3.0), &["h:1"]), ("b", Some(0.5), &["h:2"])]);
        let green = variants(&[("b", None, &["h:3", "h:4"]), ("a", Some(2.0), &["h:5"])]);
        let expected = variants(&[("a", Some(2.0), &["h:5"]), ("b", Some(0.5), &["h:3", "h:4"])]);
        assert_eq!(fitted(&blue, green), Ok(expected));
    }

    #[test]
    fn fleets_with_other_variants_are_refused_and_say_which_they_have() {
        let blue = variants(&[("a", None, &["h:1"]), ("b", None, &["h:2"])]);
        let other = variants(&[("a", None, &["h:3"]), ("c", None, &["h:4"])]);
        let plain = fleet(json!({ "version": "v2", "instances": ["h:3"] }));
        let refused = fitted(&blue, other).unwrap_err();
        assert!(
            refused.contains("green has the variants a and c, and the fleet in service the variants a and b"),
            "{refused}"
        );
        assert!(fitted(&blue, plain.clone()).unwrap_err().contains("green has no variants"));
        assert!(fitted(&plain, blue).unwrap_err().contains("the fleet in service no variants"));
        assert_eq!(fitted(&plain, plain.clone()), Ok(plain));
    }
}
