//! Variants: the named parts of a fleet, each with instances of its own and a weight.

use std::{fmt, ops::Range, sync::Arc};

use super::{Fleet, Instance};
use crate::name::VariantName;

/// How many variants a fleet has at most, as many as an endpoint of SageMaker's.
pub const MAX_VARIANTS: usize = 10;

/// What a variant is made from: so many of its fleet's instances, those that follow the ones of the variant before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VariantSpec {
    /// Unique in its fleet (checked by `config`).
    pub name: VariantName,
    /// Its part of the endpoint's requests; `None` for the one that the variant of this name has in the fleet in service, and for
    /// [`VariantWeight::ONE`] where there is none.
    pub weight: Option<VariantWeight>,
    /// How many instances it has, at least one.
    pub instances: usize,
}

/// A variant of a live fleet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variant {
    /// Unique in its fleet.
    pub name: VariantName,
    /// Its part of the endpoint's requests.
    pub weight: VariantWeight,
    /// Where its instances stand among the fleet's.
    pub instances: Range<usize>,
}

/// A variant's part of its endpoint's requests, against the weights of the others: 0 to 1,000,000, to six decimals. Nothing at zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VariantWeight {
    millionths: u64,
}

const MILLION: u64 = 1_000_000;

impl VariantWeight {
    /// No request but those that name the variant.
    pub const NONE: Self = Self { millionths: 0 };
    /// The weight of a variant of which nothing else is said.
    pub const ONE: Self = Self { millionths: MILLION };

    /// From a number of 0 to 1,000,000, to the nearest millionth; `None` for any other, and for one that would so become nothing.
    pub fn from_number(number: f64) -> Option<Self> {
        let millionths = (number * MILLION as f64).round();
        let fits = (0.0..=(MILLION * MILLION) as f64).contains(&millionths);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number from 0 to 10^12"
        )]
        (fits && (millionths > 0.0 || number == 0.0)).then_some(Self { millionths: millionths as u64 })
    }

    /// The number.
    pub fn as_number(self) -> f64 {
        self.millionths as f64 / MILLION as f64
    }

    /// The number times a million.
    pub const fn as_millionths(self) -> u64 {
        self.millionths
    }
}

impl fmt::Display for VariantWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_number().fmt(f)
    }
}

impl Variant {
    /// The variants of a specification, one after the other.
    pub fn of(specs: &[VariantSpec]) -> Vec<Self> {
        let mut from = 0;
        let variant = |spec: &VariantSpec| {
            let VariantSpec { name, weight, instances } = spec;
            let instances = from..from + instances;
            from = instances.end;
            Self { name: name.clone(), weight: weight.unwrap_or(VariantWeight::ONE), instances }
        };
        specs.iter().map(variant).collect()
    }
}

impl Fleet {
    /// A fleet of the instances of one variant alone.
    pub fn of_variant(&self, variant: &Variant) -> Self {
        Self::of(self.version.clone(), self.instances_of(variant).to_vec())
    }

    /// The instances of one of its variants.
    pub fn instances_of(&self, variant: &Variant) -> &[Arc<Instance>] {
        self.instances.get(variant.instances.clone()).unwrap_or_default()
    }

    /// Where a variant stands among its variants.
    pub fn place_of_variant(&self, name: &str) -> Option<usize> {
        self.variants.iter().position(|variant| variant.name.as_str() == name)
    }

    /// The names of its variants, for people: `a, b and c`.
    pub fn variant_names(&self) -> String {
        in_words(self.variants.iter().map(|variant| &variant.name))
    }
}

/// Names for people: `a, b and c`.
pub fn in_words<'a>(names: impl Iterator<Item = &'a VariantName>) -> String {
    let names: Vec<_> = names.map(VariantName::as_str).collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_number_from_nothing_to_a_million_to_six_decimals() {
        for (number, text) in
            [(0.0, "0"), (1.0, "1"), (0.1, "0.1"), (0.333_333_33, "0.333333"), (1e6, "1000000")]
        {
            assert_eq!(VariantWeight::from_number(number).unwrap().to_string(), text);
        }
        for bad in [-1.0, 1e-7, 1e6 + 1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(VariantWeight::from_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn variants_follow_each_other() {
        let spec = |name, instances| VariantSpec {
            name: VariantName::parse(name).unwrap(),
            weight: None,
            instances,
        };
        let variants = Variant::of(&[spec("a", 2), spec("b", 1)]);
        assert_eq!(
            variants.iter().map(|variant| variant.instances.clone()).collect::<Vec<_>>(),
            [0..2, 2..3]
        );
        assert_eq!(in_words(variants.iter().map(|variant| &variant.name)), "a and b");
    }
}
