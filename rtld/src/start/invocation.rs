//! The variables of the environment that are meant for the loader.
#![forbid(unsafe_code)]

/// Settings from `LD_*` variables. A secure process has the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings<'e> {
    /// LD_SLUL_EAGER_LOAD_LIBC: bring libc in before the program's entry.
    pub eager_libc: bool,
    /// LD_SLUL_SLOW_RELIABLE_LIBC_LOADING or LD_SLUL_DISABLE_LIBC_BOGOLOADING: never bogomap.
    pub never_bogomap: bool,
    /// LD_SLUL_DEBUG.
    pub debug: Option<&'e [u8]>,
    /// LD_SLUL_DEBUG_OUTPUT.
    pub debug_output: Option<&'e [u8]>,
    /// LD_LIBRARY_PATH.
    pub library_path: Option<&'e [u8]>,
    /// Whether that is the command line's instead, of which ld.so knows nothing.
    pub by_command_line: bool,
    /// LD_TRACE_LOADED_OBJECTS: list the objects instead of running the program.
    pub list: bool,
    /// LD_SHOW_AUXV: print the auxiliary vector.
    pub show_auxv: bool,
    /// LD_BIND_NOW: functions that nobody defines are refused, and not left to their first call. Any text counts, `0` too
    /// (ld.so(8)).
    pub bind_now: bool,
}

impl<'e> Settings<'e> {
    /// Reads the strings of the environment. Of a repeated variable the last counts, as in glibc's ld.so.
    pub fn from_environment(variables: impl Iterator<Item = &'e [u8]>) -> Self {
        let mut values: [Option<&'e [u8]>; NAMES.len()] = [None; NAMES.len()];
        for variable in variables {
            // Most variables fail here, on the first three bytes.
            let Some(rest) = variable.strip_prefix(b"LD_") else { continue };
            let Some(equals) = rest.iter().position(|&byte| byte == b'=') else { continue };
            let (name, value) = rest.split_at_checked(equals).unwrap_or_default();
            let known = NAMES.iter().position(|&known| known == name);
            if let Some(place) = known.and_then(|index| values.get_mut(index)) {
                *place = value.get(1..);
            }
        }
        let [eager, slow, disable, debug, debug_output, library_path, list, show_auxv, bind_now] = values;
        let on = |value: Option<&[u8]>| value.is_some_and(|value| !value.is_empty() && value != b"0");
        let text = |value: Option<&'e [u8]>| value.filter(|_| on(value));
        Self {
            eager_libc: on(eager),
            never_bogomap: on(slow) || on(disable),
            debug: text(debug),
            debug_output: text(debug_output),
            library_path: library_path.filter(|path| !path.is_empty()),
            by_command_line: false,
            list: on(list),
            show_auxv: on(show_auxv),
            bind_now: bind_now.is_some_and(|value| !value.is_empty()),
        }
    }

    /// The settings, with the search path of the command line, if there is one.
    #[must_use]
    pub fn searching(self, list: Option<&'e [u8]>) -> Self {
        Self { library_path: list.or(self.library_path), by_command_line: list.is_some(), ..self }
    }
}

/// Names of the variables, without `LD_`.
const NAMES: [&[u8]; 9] = [
    b"SLUL_EAGER_LOAD_LIBC",
    b"SLUL_SLOW_RELIABLE_LIBC_LOADING",
    b"SLUL_DISABLE_LIBC_BOGOLOADING",
    b"SLUL_DEBUG",
    b"SLUL_DEBUG_OUTPUT",
    b"LIBRARY_PATH",
    b"TRACE_LOADED_OBJECTS",
    b"SHOW_AUXV",
    b"BIND_NOW",
];

#[cfg(test)]
mod tests {
    use super::Settings;

    fn settings<'e>(variables: &[&'e str]) -> Settings<'e> {
        Settings::from_environment(variables.iter().map(|variable| variable.as_bytes()))
    }

    #[test]
    fn zero_and_empty_are_off() {
        assert!(settings(&["LD_SLUL_EAGER_LOAD_LIBC=1"]).eager_libc);
        assert!(settings(&["LD_SLUL_EAGER_LOAD_LIBC=yes"]).eager_libc);
        for off in ["LD_SLUL_EAGER_LOAD_LIBC=0", "LD_SLUL_EAGER_LOAD_LIBC=", "LD_SLUL_EAGER_LOAD_LIBC"] {
            assert_eq!(settings(&[off]), Settings::default(), "{off}");
        }
        assert_eq!(settings(&["LD_SLUL_DEBUG=0"]).debug, None);
        assert!(settings(&["LD_SLUL_DISABLE_LIBC_BOGOLOADING=1"]).never_bogomap);
    }

    #[test]
    fn any_text_binds_now() {
        for (variable, expected) in
            [("LD_BIND_NOW=1", true), ("LD_BIND_NOW=0", true), ("LD_BIND_NOW=", false), ("LD_BIND_NOT=1", false)]
        {
            assert_eq!(settings(&[variable]).bind_now, expected, "{variable}");
        }
    }

    #[test]
    fn the_last_of_a_repeated_variable_counts() {
        let both = settings(&["LD_SLUL_DEBUG=libs", "LD_SLUL_DEBUG=all", "", "=", "LD_LIBRARY_PATH=/a:/b"]);
        assert_eq!(both.debug, Some(&b"all"[..]));
        assert_eq!(both.library_path, Some(&b"/a:/b"[..]));
        assert!(settings(&["LD_SLUL_EAGER_LOAD_LIBC=0", "LD_SLUL_EAGER_LOAD_LIBC=1"]).eager_libc);
        for off in ["LD_SLUL_EAGER_LOAD_LIBC=0", "LD_SLUL_EAGER_LOAD_LIBC="] {
            assert!(!settings(&["LD_SLUL_EAGER_LOAD_LIBC=1", off]).eager_libc, "{off}");
        }
        assert_eq!(settings(&["LD_LIBRARY_PATH=/a", "LD_LIBRARY_PATH="]).library_path, None);
    }
}
