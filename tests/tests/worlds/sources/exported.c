/* A native library is bound to what program and libraries export, also where it has the same itself. */
#include "prelude.h"
#if defined IN_libfree
int program_has_it_too(void)
{
    return 7;
}
int program_has_it_weakly(void)
{
    return 5;
}
__attribute__((visibility("hidden"))) int hidden_here(void);
int hidden_here(void)
{
    return 1;
}
#ifdef CHOSEN
static int chosen(void)
{
    return 77;
}
static int (*choose(void))(void)
{
    return chosen;
}
int library_chosen(void) __attribute__((ifunc("choose")));
#endif
int of_library(int a)
{
    return a * 100;
}
int number_of_library = 5;
int both_have_it(void)
{
    return 20;
}
__thread int local_of_library = 6;
#elif defined IN_libnative
int program_has_it_too(void), program_has_it_weakly(void), hidden_here(void) __attribute__((weak));
int native_twice(void)
{
    return program_has_it_too() * 100 + program_has_it_weakly() + (hidden_here ? 1000 : 0);
}
#ifdef CHOSEN
int library_chosen(void);
int native_chosen(void)
{
    return library_chosen();
}
#endif
int of_program(int), of_library(int), of_program_weak(int) __attribute__((weak)), of_nobody(int) __attribute__((weak));
extern int number_of_program, number_of_library;
#ifdef LOCALS
extern __thread int local_of_program, local_of_library;
#else
static __thread int local_of_program = 3, local_of_library = 6;
#endif
int both_have_it(void)
{
    return 1;
}
int overridden(void)
{
    return 2;
}
int (*in_data)(int) = of_program;
int native_asks(void)
{
    return of_program(3) + of_library(4) + number_of_program * 1000 + number_of_library * 10000 + in_data(1);
}
int native_own(void)
{
    return both_have_it() * 100 + overridden() + (of_nobody ? 10000 : 0) + (of_program_weak ? of_program_weak(1) : 5000);
}
int *native_sees(void)
{
    return &number_of_program;
}
int native_locals(void)
{
    return local_of_program++ * 10 + local_of_library++;
}
#else
#include <pthread.h>
#include <stdio.h>

int of_library(int), native_asks(void), native_own(void), native_locals(void), *native_sees(void);
extern int number_of_library;
extern __thread int local_of_library;
int native_twice(void), native_chosen(void);
int program_has_it_too(void)
{
    return 3;
}
__attribute__((weak)) int program_has_it_weakly(void)
{
    return 4;
}
int number_of_program = 2;
__thread int local_of_program = 3;
int of_program(int a)
{
    return a * 10;
}
int of_program_weak(int a)
{
    return a * 300000;
}
int overridden(void)
{
    return 3;
}
static void *thread(void *unused)
{
    printf("thread %d", native_locals());
    printf(" %d\n", local_of_program * 10 + local_of_library);
    return unused;
}

int main(void)
{
    pthread_t other;
    number_of_program = 4;
    number_of_library = 7;
#ifdef LOCALS
    local_of_program = 8;
    local_of_library = 9;
#endif
    printf("%d %d %d\n", native_asks(), native_own(), native_sees() == &number_of_program);
    printf("%d", native_locals());
    printf(" %d %d\n", local_of_program, local_of_library);
    printf("twice %d\n", native_twice());
#ifdef CHOSEN
    printf("chosen %d\n", native_chosen());
#endif
    pthread_create(&other, 0, thread, 0);
    pthread_join(other, 0);
    return SUCCESS;
}
#endif
