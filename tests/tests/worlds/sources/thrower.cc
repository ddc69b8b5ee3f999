// Throws and catches, and looks at who called it.
#include "prelude.h"
#include <cstdio>
#include <execinfo.h>
#include <pthread.h>
#include <stdexcept>
#include <unwind.h>

struct Alive {
    const char *what;
    ~Alive()
    {
        std::printf("%s unwound\n", what);
    }
};

extern "C" void native_throw(int value)
{
    Alive alive{"native frame"};
    if (value == 0)
        throw std::runtime_error("text");
    throw value;
}

extern "C" int native_catch(void (*function)(int), int value)
{
    try {
        function(value);
    } catch (int caught) {
        std::printf("caught %d\n", caught);
        return caught;
    } catch (const std::exception &error) {
        std::printf("caught %s\n", error.what());
        return -1;
    }
    std::printf("nothing thrown\n");
    return 0;
}

// Whether a frame lies in a function: its first 256 bytes are taken for it.
static bool inside(void *address, void *function)
{
    return address > function && address < static_cast<char *>(function) + 256;
}

extern "C" void native_backtrace(void *inner, void *outer)
{
    void *frames[64];
    int count = backtrace(frames, 64), places[2] = {-1, -1};
    for (int at = 0; at < count; at++) {
        if (inside(frames[at], inner) && places[0] < 0)
            places[0] = at;
        if (inside(frames[at], outer))
            places[1] = at;
    }
    std::printf("backtrace: inner %d, outer %d, in order %d\n", places[0] >= 0, places[1] >= 0, places[0] <= places[1]);
}

struct Found {
    void *inner;
    int count, ip;
};

static _Unwind_Reason_Code step(_Unwind_Context *context, void *data)
{
    Found *found = static_cast<Found *>(data);
    found->count++;
    found->ip |= inside(reinterpret_cast<void *>(_Unwind_GetIP(context)), found->inner);
    return found->count > 1000 ? _URC_END_OF_STACK : _URC_NO_REASON;
}

extern "C" void native_walk(void *inner)
{
    Found found = {inner, 0, 0};
    int end = _Unwind_Backtrace(step, &found);
    std::printf("walk: inner %d, ends %d\n", found.ip, end == _URC_END_OF_STACK && found.count < 1000);
}

static void *run(void *function)
{
    Alive alive{"thread's frame"};
    reinterpret_cast<void (*)(int)>(function)(0);
    std::printf("not reached\n");
    return nullptr;
}

// Ends a thread by a forced unwinding through the function's frames.
extern "C" void native_thread(void (*function)(int))
{
    pthread_t thread;
    void *result = nullptr;
    pthread_create(&thread, nullptr, run, reinterpret_cast<void *>(function));
    pthread_join(thread, &result);
    std::printf("thread %ld\n", reinterpret_cast<long>(result));
}

extern "C" void native_end(int)
{
    pthread_exit(reinterpret_cast<void *>(5L));
}
