//! Numbers of the system calls of both programs, as the processor at hand has them. Every processor has each of them: where
//! an old one is missing on newer processors (`open`, `readlink`), its successor is used.
#![forbid(unsafe_code)]

pub(crate) use linux_raw_sys::general::{
    __NR_clock_gettime as CLOCK_GETTIME, __NR_exit_group as EXIT_GROUP, __NR_faccessat2 as FACCESSAT2,
    __NR_fcntl as FCNTL, __NR_futex as FUTEX, __NR_get_robust_list as GET_ROBUST_LIST, __NR_getcwd as GETCWD,
    __NR_getpid as GETPID, __NR_getrandom as GETRANDOM, __NR_gettid as GETTID, __NR_nanosleep as NANOSLEEP,
    __NR_process_vm_writev as PROCESS_VM_WRITEV, __NR_rt_sigaction as RT_SIGACTION,
    __NR_rt_sigprocmask as RT_SIGPROCMASK, __NR_rt_sigtimedwait as RT_SIGTIMEDWAIT, __NR_tgkill as TGKILL,
    SIGXFSZ,
};
