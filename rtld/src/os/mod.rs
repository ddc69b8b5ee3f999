//! The operating system: what the loader asks of it ([`seam`]), and how Linux does it ([`sys`], [`mapped`]).
pub mod mapped;
pub mod seam;
pub mod sys;
#[cfg(test)]
pub(crate) mod testing;
