//! Code of the loader to which relocated words refer, by address.
#![forbid(unsafe_code)]

use crate::base::addr::RuntimeAddr;
use crate::link::tls::LateTls;

/// The arrangement of the first-call stubs in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StubLayout {
    /// Number of groups.
    pub groups: u64,
    /// Stubs in a group, a power of two.
    pub per_group: u64,
    /// Distance between neighbours in a group, in bytes.
    pub stride: u64,
    /// Distance between neighbouring groups, in bytes.
    pub group_stride: u64,
}

/// The first-call stubs of the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stubs {
    /// Address of stub 0.
    pub start: RuntimeAddr,
    /// The places of all stubs.
    pub layout: StubLayout,
}

impl Stubs {
    /// Number of stubs.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.layout.groups.saturating_mul(self.layout.per_group)
    }

    /// Whether an address is within the stubs.
    #[must_use]
    pub const fn contains(&self, address: RuntimeAddr) -> bool {
        let size = self.layout.groups.saturating_mul(self.layout.group_stride);
        address.0.wrapping_sub(self.start.0) < size
    }

    /// A value without stubs, at the same address.
    #[must_use]
    pub const fn none(self) -> Self {
        Self { layout: StubLayout { groups: 0, ..self.layout }, ..self }
    }

    /// Address of stub `number`.
    #[must_use]
    pub fn address(&self, number: u32) -> RuntimeAddr {
        let StubLayout { per_group, stride, group_stride, .. } = self.layout;
        let number = u64::from(number);
        let group = number.checked_div(per_group).unwrap_or(0);
        let within = number.checked_rem(per_group).unwrap_or(0);
        let offset = group.wrapping_mul(group_stride).wrapping_add(within.wrapping_mul(stride));
        RuntimeAddr(self.start.0.wrapping_add(offset))
    }
}

/// The addresses of loader code to which relocated words refer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderCode {
    /// First-call stubs, for native function slots.
    pub stubs: Stubs,
    /// Code to which PLT slots lead whose function nobody defines, so that it is looked up again when they are called. `None`
    /// if such functions are refused.
    pub waiting: Option<RuntimeAddr>,
    /// Function of a TLS descriptor whose argument is an offset from the thread pointer.
    pub tls_descriptor: RuntimeAddr,
    /// Function of a TLS descriptor whose argument is the address of a [`TlsDescArg`].
    pub tls_described: RuntimeAddr,
    /// Function of a TLS descriptor whose argument is an address, the same in every thread.
    pub tls_undefined: RuntimeAddr,
}

impl LoaderCode {
    /// A value with code for slots that wait only if `waits`.
    #[must_use]
    pub const fn waiting_if(self, waits: bool) -> Self {
        Self { waiting: if waits { self.waiting } else { None }, ..self }
    }
}

/// Argument of a TLS descriptor for a library opened at run time, whose block a thread gets when it first uses it. Assembly
/// reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TlsDescArg<'a> {
    /// [`LateTls::entry`].
    pub entry: u64,
    /// [`LateTls::key`].
    pub key: u64,
    /// The variable's offset in the block.
    pub offset: u64,
    /// The library's storage.
    pub late: &'a LateTls,
}
