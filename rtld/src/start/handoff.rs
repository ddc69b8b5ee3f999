//! The block that the kernel leaves on the stack (argc, argv, envp, auxv), as words.
//!
//! Decides once whether the process is secure, and computes what libc will see of the block. Strings are addresses
//! here: this file never follows one, nor edits a string in place.
#![forbid(unsafe_code)]

pub(crate) use linux_raw_sys::auxvec;

use crate::base::addr::{PageSize, RuntimeAddr, to_usize};
use crate::machine::{Machine, Native};
use crate::start::command_line::Handler;

/// The parts of the block, as indices of words. argv begins at word 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Number of arguments.
    pub argc: usize,
    /// First word of envp.
    pub envp: usize,
    /// First word of auxv.
    pub auxv: usize,
    /// The word after the value of AT_NULL.
    pub end: usize,
}

impl Layout {
    /// Finds the parts. Asks `word` for rising indices, from 0 on, and never for one beyond the end.
    pub fn scan(mut word: impl FnMut(usize) -> u64) -> Self {
        let argc = to_usize(word(0));
        let envp = argc.saturating_add(2);
        let mut auxv = envp;
        while word(auxv) != 0 {
            auxv = auxv.wrapping_add(1);
        }
        auxv = auxv.wrapping_add(1);
        let mut end = auxv;
        while word(end) != 0 {
            end = end.saturating_add(2);
        }
        Self { argc, envp, auxv, end: end.saturating_add(2) }
    }

    /// The words of envp, without the final NULL.
    #[must_use]
    pub fn environment<'w>(&self, words: &'w [u64]) -> &'w [u64] {
        words.get(self.envp..self.auxv.saturating_sub(1)).unwrap_or_default()
    }

    /// The auxiliary vector.
    #[must_use]
    pub fn auxiliary<'w>(&self, words: &'w [u64]) -> Auxiliary<'w> {
        Auxiliary(words.get(self.auxv..self.end).unwrap_or_default())
    }

    /// Removes the variables for which `unwanted` returns true, given the address of the string, and moves auxv down,
    /// so that it directly follows the NULL of envp again.
    pub fn remove_variables(&mut self, words: &mut [u64], unwanted: impl Fn(u64) -> bool) {
        let mut kept = self.envp;
        for index in self.envp..self.auxv.saturating_sub(1) {
            let Some(&variable) = words.get(index) else { return };
            if !unwanted(variable) {
                if let Some(place) = words.get_mut(kept) {
                    *place = variable;
                }
                kept = kept.wrapping_add(1);
            }
        }
        if let Some(null) = words.get_mut(kept) {
            *null = 0;
        }
        let auxv = kept.wrapping_add(1);
        if self.end <= words.len() {
            words.copy_within(self.auxv..self.end, auxv);
        }
        let size = self.end.saturating_sub(self.auxv);
        *self = Self { auxv, end: auxv.saturating_add(size), ..*self };
    }

    /// Removes the first `count` arguments, makes `first` the new `argv[0]`, and moves envp and auxv down to follow
    /// argv.
    pub fn drop_arguments(&mut self, words: &mut [u64], count: usize, first: u64) {
        let count = count.min(self.argc);
        let kept = count.wrapping_add(1);
        if kept <= self.end && self.end <= words.len() {
            words.copy_within(kept..self.end, 1);
        }
        let argc = self.argc.saturating_sub(count);
        for (place, value) in
            words.iter_mut().zip([crate::base::addr::from_usize(argc), first]).take(argc.wrapping_add(1))
        {
            *place = value;
        }
        *self = Self {
            argc,
            envp: self.envp.saturating_sub(count),
            auxv: self.auxv.saturating_sub(count),
            end: self.end.saturating_sub(count),
        };
    }

    /// Removes the entry `key` of the auxiliary vector.
    pub fn remove_entry(&mut self, words: &mut [u64], key: u32) {
        let mut entry = self.auxv;
        while entry < self.end && words.get(entry) != Some(&u64::from(key)) {
            entry = entry.saturating_add(2);
        }
        let next = entry.saturating_add(2);
        if next < self.end && self.end <= words.len() {
            words.copy_within(next..self.end, entry);
            self.end = self.end.saturating_sub(2);
        }
    }

    /// Gives an entry of the auxiliary vector that is absent the place of one that nobody needs: AT_IGNORE, or AT_FLAGS, which
    /// is 0. Stays absent if neither is there.
    pub fn supply(&self, words: &mut [u64], key: u32, value: u64) {
        let Some(auxv) = words.get_mut(self.auxv..self.end) else { return };
        let (pairs, _) = auxv.as_chunks_mut::<2>();
        let has = |pairs: &[[u64; 2]], key: u32| pairs.iter().position(|[found, _]| *found == u64::from(key));
        if has(pairs, key).is_none() {
            let free = has(pairs, auxvec::AT_IGNORE).or_else(|| has(pairs, auxvec::AT_FLAGS));
            if let Some(pair) = free.and_then(|index| pairs.get_mut(index)) {
                *pair = [key.into(), value];
            }
        }
    }

    /// Replaces values of the auxiliary vector. Absent entries stay absent.
    pub fn patch(&self, words: &mut [u64], values: &[(u32, u64)]) {
        let Some(auxv) = words.get_mut(self.auxv..self.end) else { return };
        for pair in auxv.chunks_exact_mut(2) {
            if let [key, value] = pair
                && let Some(&(_, new)) = values.iter().find(|(known, _)| u64::from(*known) == *key)
            {
                *value = new;
            }
        }
    }
}

/// The auxiliary vector: pairs of a key and a value, up to AT_NULL.
#[derive(Clone, Copy, Debug)]
pub struct Auxiliary<'w>(&'w [u64]);

impl Auxiliary<'_> {
    /// The value of the entry `key`.
    #[must_use]
    #[inline(never)]
    pub fn get(&self, key: u32) -> Option<u64> {
        let mut pairs = self.0.chunks_exact(2).filter_map(|pair| pair.first().zip(pair.get(1)));
        pairs.find(|(found, _)| **found == u64::from(key)).map(|(_, value)| *value)
    }

    /// Whether the process has privileges that its user does not have: AT_SECURE or, where the kernel does not pass it,
    /// real and effective ids that differ. Absent ids count as different.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        match self.get(auxvec::AT_SECURE) {
            Some(secure) => secure != 0,
            None => {
                let same = |real, effective| self.get(real).is_some() && self.get(real) == self.get(effective);
                !(same(auxvec::AT_UID, auxvec::AT_EUID) && same(auxvec::AT_GID, auxvec::AT_EGID))
            }
        }
    }

    /// Real and effective id of user and group; `None` where the kernel does not pass them.
    #[must_use]
    pub fn ids(&self) -> Option<((u64, u64), (u64, u64))> {
        let user = (self.get(auxvec::AT_UID)?, self.get(auxvec::AT_EUID)?);
        Some((user, (self.get(auxvec::AT_GID)?, self.get(auxvec::AT_EGID)?)))
    }

    /// The entries that the kernel passes to a binfmt_misc handler.
    #[must_use]
    pub fn handler(&self) -> Handler {
        const PRESERVE_ARGV0: u64 = 1;
        Handler {
            descriptor: self.get(auxvec::AT_EXECFD).and_then(|descriptor| u32::try_from(descriptor).ok()),
            keeps_argv0: self.get(auxvec::AT_FLAGS).is_some_and(|flags| flags & PRESERVE_ARGV0 != 0),
        }
    }

    /// Address and number of the program's headers.
    #[must_use]
    pub fn program_headers(&self) -> Option<(RuntimeAddr, u64)> {
        let count = self.get(auxvec::AT_PHNUM).filter(|&count| count != 0)?;
        Some((RuntimeAddr(self.get(auxvec::AT_PHDR)?), count))
    }

    /// The first absent entry of those that a bogomapped ld.so reads without checking for them.
    #[must_use]
    pub fn missing_for_libc(&self) -> Option<u32> {
        let needed = [
            auxvec::AT_PHDR,
            auxvec::AT_PHENT,
            auxvec::AT_PHNUM,
            auxvec::AT_BASE,
            auxvec::AT_ENTRY,
            auxvec::AT_RANDOM,
        ];
        needed.into_iter().find(|&key| self.get(key).is_none())
    }

    /// The program's entry.
    #[must_use]
    pub fn entry(&self) -> Option<RuntimeAddr> {
        self.get(auxvec::AT_ENTRY).filter(|&entry| entry != 0).map(RuntimeAddr)
    }

    /// Address of AT_EXECFN, the path that the kernel was given.
    #[must_use]
    pub fn exec_path(&self) -> Option<u64> {
        self.get(auxvec::AT_EXECFN).filter(|&address| address != 0)
    }

    /// Address of the 16 random bytes of AT_RANDOM.
    #[must_use]
    pub fn random(&self) -> Option<u64> {
        self.get(auxvec::AT_RANDOM).filter(|&address| address != 0)
    }

    /// Size of a page (AT_PAGESZ); where the kernel does not pass it, the machine's largest.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.get(auxvec::AT_PAGESZ).and_then(PageSize::new).unwrap_or(Native::LARGEST_PAGE)
    }

    /// AT_HWCAP2, further features of the processor; 0 where the kernel does not pass it.
    #[must_use]
    pub fn hwcap2(&self) -> u64 {
        self.get(auxvec::AT_HWCAP2).unwrap_or(0)
    }

    /// AT_MINSIGSTKSZ: size in bytes of the largest signal frame, which contains all of the processor's state (Linux
    /// 5.14).
    #[must_use]
    pub fn min_signal_stack(&self) -> Option<u64> {
        self.get(auxvec::AT_MINSIGSTKSZ)
    }
}

/// The values in which the auxiliary vector for libc differs from the kernel's.
#[must_use]
pub const fn libc_values(phdr: u64, phnum: u64, base: u64, entry: u64) -> [(u32, u64); 4] {
    [(auxvec::AT_PHDR, phdr), (auxvec::AT_PHNUM, phnum), (auxvec::AT_BASE, base), (auxvec::AT_ENTRY, entry)]
}

/// Whether a variable is removed from the environment of a secure process, for all later readers: the program, libc,
/// and what the program executes.
#[must_use]
pub fn is_unsafe_variable(variable: &[u8]) -> bool {
    libc_template::is_unsecure_variable(variable)
}

#[cfg(test)]
mod tests {
    use super::{Layout, is_unsafe_variable};
    use linux_raw_sys::auxvec;
    use std::vec;
    use std::vec::Vec;

    fn block(environment: &[u64], auxv: &[(u32, u64)]) -> (Vec<u64>, Layout) {
        let mut words = vec![2, 0x100, 0x101, 0];
        words.extend(environment);
        words.push(0);
        words.extend(auxv.iter().flat_map(|&(key, value)| [u64::from(key), value]));
        words.extend([0, 0]);
        let layout = Layout::scan(|index| words[index]);
        assert_eq!(layout.end, words.len());
        (words, layout)
    }

    #[test]
    fn parts_are_found() {
        let (words, layout) = block(&[7, 8], &[(auxvec::AT_ENTRY, 5)]);
        assert_eq!((layout.argc, layout.envp, layout.auxv), (2, 4, 7));
        assert_eq!(layout.environment(&words), [7, 8]);
        assert_eq!(layout.auxiliary(&words).get(auxvec::AT_ENTRY), Some(5));
        assert_eq!(layout.auxiliary(&words).get(auxvec::AT_BASE), None);
        let (words, layout) = block(&[], &[]);
        assert!(layout.environment(&words).is_empty());
    }

    #[test]
    fn secure_is_never_assumed_away() {
        let secure = |auxv: &[(u32, u64)]| {
            let (words, layout) = block(&[], auxv);
            layout.auxiliary(&words).is_secure()
        };
        use auxvec::{AT_EGID, AT_EUID, AT_GID, AT_SECURE, AT_UID};
        assert!(!secure(&[(AT_SECURE, 0)]) && secure(&[(AT_SECURE, 1)]));
        assert!(secure(&[]), "nothing known");
        assert!(!secure(&[(AT_UID, 5), (AT_EUID, 5), (AT_GID, 6), (AT_EGID, 6)]));
        assert!(secure(&[(AT_UID, 5), (AT_EUID, 0), (AT_GID, 6), (AT_EGID, 6)]));
        assert!(secure(&[(AT_UID, 5), (AT_EUID, 5), (AT_GID, 6), (AT_EGID, 0)]));
    }

    #[test]
    fn auxv_follows_what_is_left_of_envp() {
        let (mut words, mut layout) = block(&[1, 2, 3, 2], &[(auxvec::AT_ENTRY, 5), (auxvec::AT_UID, 9)]);
        layout.remove_variables(&mut words, |variable| variable == 2);
        assert_eq!(layout, Layout::scan(|index| words[index]));
        assert_eq!(layout.environment(&words), [1, 3]);
        assert_eq!(layout.auxiliary(&words).get(auxvec::AT_UID), Some(9));
    }

    #[test]
    fn entries_go() {
        let (mut words, mut layout) = block(&[1], &[(auxvec::AT_EXECFD, 3), (auxvec::AT_UID, 9)]);
        let before = layout;
        layout.remove_entry(&mut words, auxvec::AT_GID);
        assert_eq!(layout, before, "what is not there");
        layout.remove_entry(&mut words, auxvec::AT_EXECFD);
        assert_eq!(layout, Layout::scan(|index| words[index]));
        assert_eq!(layout.auxiliary(&words).get(auxvec::AT_EXECFD), None);
        assert_eq!(layout.auxiliary(&words).get(auxvec::AT_UID), Some(9));
    }

    #[test]
    fn arguments_of_the_loader_go() {
        let (mut words, mut layout) = block(&[7, 8], &[(auxvec::AT_ENTRY, 5)]);
        layout.drop_arguments(&mut words, 1, 0x55);
        assert_eq!(layout, Layout::scan(|index| words[index]));
        assert_eq!((words[0], words[1], words[2]), (1, 0x55, 0));
        assert_eq!(layout.environment(&words), [7, 8]);
        assert_eq!(layout.auxiliary(&words).get(auxvec::AT_ENTRY), Some(5));
        layout.drop_arguments(&mut words, 9, 0x66);
        assert_eq!((layout, words[1]), (Layout::scan(|index| words[index]), 0), "more than there are");
    }

    #[test]
    fn patched_values_and_no_others() {
        let (mut words, layout) = block(&[], &[(auxvec::AT_ENTRY, 5), (auxvec::AT_UID, 9)]);
        layout.patch(&mut words, &[(auxvec::AT_ENTRY, 6), (auxvec::AT_BASE, 7)]);
        let auxiliary = layout.auxiliary(&words);
        assert_eq!((auxiliary.get(auxvec::AT_ENTRY), auxiliary.get(auxvec::AT_UID)), (Some(6), Some(9)));
        assert_eq!(auxiliary.get(auxvec::AT_BASE), None);
    }

    #[test]
    fn absent_entries_take_the_place_of_idle_ones() {
        let (mut words, layout) =
            block(&[], &[(auxvec::AT_FLAGS, 0), (auxvec::AT_IGNORE, 4), (auxvec::AT_ENTRY, 5)]);
        let get = |words: &[u64], key| layout.auxiliary(words).get(key);
        layout.supply(&mut words, auxvec::AT_ENTRY, 6);
        assert_eq!(get(&words, auxvec::AT_ENTRY), Some(5), "it is there");
        for (key, value, flags) in
            [(auxvec::AT_BASE, 7, Some(0)), (auxvec::AT_UID, 8, None), (auxvec::AT_GID, 9, None)]
        {
            layout.supply(&mut words, key, value);
            assert_eq!(get(&words, auxvec::AT_FLAGS), flags);
        }
        assert_eq!(get(&words, auxvec::AT_BASE).zip(get(&words, auxvec::AT_UID)), Some((7, 8)));
        assert_eq!(get(&words, auxvec::AT_GID), None, "no place is left");
    }

    #[test]
    fn unsafe_variables() {
        assert!(is_unsafe_variable(b"LD_SLUL_DEBUG=all") && is_unsafe_variable(b"GLIBC_TUNABLES=x"));
        assert!(is_unsafe_variable(b"LD_"), "also without a value");
        assert!(is_unsafe_variable(b"GCONV_PATH=/x") && is_unsafe_variable(b"MALLOC_TRACE=/x"));
        assert!(!is_unsafe_variable(b"PATH=/bin") && !is_unsafe_variable(b"GLIBC_TUNABLESX=1"));
    }
}
