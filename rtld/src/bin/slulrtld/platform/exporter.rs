//! The object that defines the loader's exports.
#![forbid(unsafe_code)]

use rtld::base::arena::Arena;
use rtld::error::Failure;
use rtld::link::load::Present;
use rtld::machine::{Machine, Native};
use rtld::os::mapped::MappedImage;

use crate::run::kernel;

/// The object that defines the loader's exports: the loader itself, which is linked for the machine's largest page.
pub(crate) fn exporter(
    arena: &'static Arena,
    path: &'static [u8],
) -> Result<Present<'static, MappedImage>, Failure<'static>> {
    kernel::own_image(arena, path, Native::LARGEST_PAGE)
}
