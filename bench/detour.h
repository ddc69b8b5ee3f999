/* What the two halves of the peer in detour's style agree on: argv[1] of the helper is the address of one of these. */
struct escape {
    void *(*dlsym)(void *, const char *);
    void (*leave)(void);
};
