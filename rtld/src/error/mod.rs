//! The errors of the loader: values with numbers and names, and their text of one line.

pub mod failure;
pub mod fault;
pub mod problem;
pub mod record;

pub use crate::base::errno::{Errno, OpenError};
pub use crate::base::text::Printable;
pub use failure::{Error, Failure, OfObject};
pub use fault::{SegmentFault, Table};
pub use problem::Problem;
pub use record::{OWN, Record};
