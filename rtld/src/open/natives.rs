//! Native libraries that opened libraries need: libc has them open for as long as one of the libraries is there that came with
//! one open.
#![forbid(unsafe_code)]

use core::ptr;

use crate::open::libraries::Libraries;
use crate::os::seam::ImageMut;

impl<I: ImageMut + 'static> Libraries<'static, I> {
    /// Keeps libc's handles of the native libraries that came with module `index`.
    pub fn keep_natives(&mut self, index: usize, handles: &'static [usize]) {
        let opened = self.opened_mut(index);
        opened.into_iter().for_each(|opened| opened.group.natives.set(handles));
    }

    /// libc's handles of native libraries that module `index`, or what came with it, needs.
    #[must_use]
    pub fn natives_of(&self, index: usize) -> &'static [usize] {
        let opened = self.namespace.get(index).and_then(|module| module.opened.as_ref());
        opened.map_or(&[], |opened| opened.group.natives.get())
    }

    /// Takes out the handles of native libraries that nothing needs any more once `objects` are removed.
    pub fn take_natives(&mut self, objects: &[usize], index: usize) -> &'static [usize] {
        let group = |index: usize| Some(self.namespace.get(index)?.opened.as_ref()?.group);
        let Some(of) = group(index) else { return &[] };
        let going = objects.iter().filter(|&&other| group(other).is_some_and(|group| ptr::eq(group, of)));
        if going.count() == of.live.get() { of.natives.replace(&[]) } else { &[] }
    }
}
