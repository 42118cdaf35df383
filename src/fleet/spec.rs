//! What fleets are made from.

use std::{num::NonZeroU32, sync::Arc};

use super::{Address, Protocol, ProviderSpec, UpstreamTls, VariantSpec};
use crate::name::{VariantName, Version};

/// What a fleet is made from: a version, and its instances or who makes them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FleetSpec {
    /// What the fleet serves.
    pub version: Version,
    /// Its instances, at least one, none twice; none at all where a provider makes them (checked by `config`).
    pub instances: Vec<InstanceSpec>,
    /// Its parts, whose instances follow each other and are all of them; none where it has one, without a name (checked by `config`).
    pub variants: Vec<VariantSpec>,
    /// Who makes its instances; `None` for the static provider, which takes those that are named here.
    pub provider: Option<Arc<ProviderSpec>>,
    /// What the instances speak; [`Protocol::H2`] has `tls`, [`Protocol::H2c`] has none (checked by `config`).
    pub protocol: Protocol,
    /// How connections to the instances are secured; without it they are plain.
    pub tls: Option<Arc<UpstreamTls>>,
}

/// What an instance is made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InstanceSpec {
    /// Where it listens.
    pub address: Address,
    /// Its part of the fleet's requests.
    pub weight: Weight,
    /// How many requests it takes at a time, where that is not what the endpoint says of all.
    pub max_concurrency: Option<NonZeroU32>,
}

/// An instance's part of its fleet's requests, against the weights of the others: 1 to 1,000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Weight(u16);

impl FleetSpec {
    /// The names of its variants, in their order.
    pub fn variant_names(&self) -> impl Iterator<Item = &VariantName> {
        self.variants.iter().map(|variant| &variant.name)
    }

    /// The same, whatever its variants weigh.
    pub fn unweighed(&self) -> Self {
        let variants = self.variants.iter().map(|variant| VariantSpec { weight: None, ..variant.clone() });
        Self { variants: variants.collect(), ..self.clone() }
    }

    /// Its variants, each with its instances.
    pub fn parts(&self) -> impl Iterator<Item = (&VariantSpec, &[InstanceSpec])> {
        let mut rest = self.instances.as_slice();
        self.variants.iter().map(move |variant| {
            let (own, others) = rest.split_at_checked(variant.instances).unwrap_or((rest, &[]));
            rest = others;
            (variant, own)
        })
    }

    /// Whether two specifications make the same instances, however many.
    pub fn is_same_but_for_count(&self, other: &Self) -> bool {
        let uncounted = |spec: &Self| spec.provider.as_ref().map(|provider| provider.counting(None));
        let bare = |spec: &Self| Self { provider: None, ..spec.clone() };
        bare(self) == bare(other) && uncounted(self) == uncounted(other)
    }
}

impl Weight {
    /// The part of an instance of which nothing else is said.
    pub const ONE: Self = Self(1);
    /// The largest.
    pub const MOST: u16 = 1_000;

    /// From 1 to [`Weight::MOST`].
    pub fn new(weight: u16) -> Option<Self> {
        (1..=Self::MOST).contains(&weight).then_some(Self(weight))
    }

    /// The nearest weight to a number.
    pub(super) fn clamped(number: u64) -> Self {
        Self(u16::try_from(number).unwrap_or(Self::MOST).clamp(1, Self::MOST))
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

impl From<Address> for InstanceSpec {
    /// An instance of which nothing but its address is said.
    fn from(address: Address) -> Self {
        Self { address, weight: Weight::ONE, max_concurrency: None }
    }
}
