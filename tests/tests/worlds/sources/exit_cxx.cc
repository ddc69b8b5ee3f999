// A native library with objects that are destroyed at exit, and in each thread.
#include "prelude.h"
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

struct Object {
    std::string name;
    explicit Object(const char *name) : name(name)
    {
        std::printf("%s built\n", this->name.c_str());
    }
    ~Object()
    {
        std::printf("%s destroyed\n", name.c_str());
    }
};

static Object global("global");
static thread_local Object local("thread's");

extern "C" void native_use(void (*function)())
{
    static Object inner("inner");
    std::printf("%zu\n", local.name.size());
    std::thread([] { std::printf("in thread %zu\n", local.name.size()); }).join();
    function();
}
