//! What only a processor's own instructions can do; one folder for each, with the same names in each.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("no cpu for this architecture yet");
