//! Linux: the only folder that names rustix. Implements the traits of [`crate::os::seam`].

mod files;
mod mapping;
pub(crate) mod memory;

pub use files::{
    BorrowedFd, File, Linux, explains_ids, file_info, file_path, file_size, for_each_thread, handed_over,
    may_execute_by_link, memory_file, open_output, program_path, program_size, set_name, skip_line, stderr,
    stdout, write_all, write_line,
};
pub use mapping::map_each_segment;
pub use memory::{
    MEMORY, anonymous, anonymous_near, give_back, make_stack_executable, named_page, protect, stack,
};
