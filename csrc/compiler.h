/* Every compiler conditional of the project stands here. */
#ifndef FC_COMPILER_H
#define FC_COMPILER_H

/* Must come before any header of the system. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define FC_RESTRICT __restrict
#define FC_INLINE static __forceinline
#define FC_NOINLINE __declspec(noinline)
#define FC_TARGET_ATTRIBUTE(features)
#define FC_UNROLL
#else
#define FC_RESTRICT restrict
#define FC_INLINE static inline __attribute__((always_inline))
#define FC_TARGET_ATTRIBUTE(features) __attribute__((target(features)))
/* One copy of a function, for whatever constants it is called with. */
#if defined(__clang__)
#define FC_NOINLINE __attribute__((noinline))
#define FC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define FC_NOINLINE __attribute__((noinline, noclone))
#define FC_UNROLL _Pragma("GCC unroll 16")
#endif
#endif

/* Brings the line of an address nearer; the address need not be readable. */
#if defined(__GNUC__)
#define FC_PREFETCH(address) __builtin_prefetch(address)
#define FC_PREFETCH_TO_L2(address) __builtin_prefetch(address, 0, 2)
#define FC_PREFETCH_TO_WRITE(address) __builtin_prefetch(address, 1)
#else
#define FC_PREFETCH(address) ((void)0)
#define FC_PREFETCH_TO_L2(address) ((void)0)
#define FC_PREFETCH_TO_WRITE(address) ((void)0)
#endif

/* Keeps a vector that is used several times in a register; gcc would load it again for every use. */
#if defined(__GNUC__) && defined(__x86_64__)
#define FC_KEEP(vector) __asm__("" : "+v"(vector))
/* Keeps a pointer that is moved on step by step; gcc would keep an offset for each step. */
#define FC_KEEP_POINTER(pointer) __asm__("" : "+r"(pointer))
#elif defined(__GNUC__) && defined(__aarch64__)
#define FC_KEEP(vector) __asm__("" : "+w"(vector))
#else
#define FC_KEEP(vector) ((void)0)
#endif

/* Visible outside the extension module; nothing else is. */
#if defined(_WIN32)
#define FC_EXPORT __declspec(dllexport)
#else
#define FC_EXPORT __attribute__((visibility("default")))
#endif

#if defined(_WIN32)
#define FC_HAS_THREADS 0
#define FC_ATOMIC
#define FC_THREAD int
#else
#include <pthread.h>
#include <stdatomic.h>
#define FC_THREAD pthread_t
#define FC_HAS_THREADS 1
#define FC_ATOMIC _Atomic
#endif

/* Whether a thread can be kept off a processor. */
#if defined(__linux__) && !defined(__ANDROID__)
#include <sched.h>
#define FC_HAS_AFFINITY 1
#else
#define FC_HAS_AFFINITY 0
#endif

/* Tells the processor that a loop waits. */
#if defined(__x86_64__) && defined(__GNUC__)
#define FC_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__) && defined(__GNUC__)
#define FC_PAUSE() __asm__ __volatile__("yield")
#else
#define FC_PAUSE() ((void)0)
#endif

#if defined(__GNUC__)
#define FC_HAS_VECTOR_EXTENSION 1
#define FC_VECTOR_OF_16_BYTES __attribute__((vector_size(16)))
#else
#define FC_HAS_VECTOR_EXTENSION 0
#define FC_VECTOR_OF_16_BYTES
#endif

#if defined(__x86_64__) && defined(__GNUC__)
#define FC_HAS_X86 1
#else
#define FC_HAS_X86 0
#endif

#if defined(__aarch64__) && defined(__GNUC__)
#define FC_HAS_NEON 1
#else
#define FC_HAS_NEON 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define FC_HAS_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#define FC_HAS_ADDRESS_SANITIZER __has_feature(address_sanitizer)
#else
#define FC_HAS_ADDRESS_SANITIZER 0
#endif

/* The processor's mode of a thread in which denormal numbers count as zero, as operands and as results. */
#if defined(__x86_64__) && defined(__GNUC__)
typedef unsigned int fc_float_mode;
#define FC_FLUSH_DENORMALS 0x8040u
static inline fc_float_mode fc_get_float_mode(void) { return __builtin_ia32_stmxcsr(); }
static inline void fc_set_float_mode(fc_float_mode mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__) && defined(__GNUC__)
typedef unsigned long fc_float_mode;
#define FC_FLUSH_DENORMALS (1ul << 24)
static inline fc_float_mode fc_get_float_mode(void) {
    fc_float_mode mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static inline void fc_set_float_mode(fc_float_mode mode) { __asm__ __volatile__("msr fpcr, %0" : : "r"(mode)); }
#else
typedef int fc_float_mode;
#define FC_FLUSH_DENORMALS 0
static inline fc_float_mode fc_get_float_mode(void) { return 0; }
static inline void fc_set_float_mode(fc_float_mode mode) { (void)mode; }
#endif

/* A line of a contract: what a caller has promised. Checked where FC_ASSERTS is defined, as in all builds of the C
 * driver, else not evaluated. */
#ifdef FC_ASSERTS
#include <stdio.h>
#include <stdlib.h>
#define FC_ASSERT(condition)                                                                          \
    do {                                                                                              \
        if (!(condition)) {                                                                           \
            fprintf(stderr, "%s:%d: broken contract: %s\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                                  \
        }                                                                                             \
    } while (0)
#else
#define FC_ASSERT(condition) ((void)sizeof(condition))
#endif

/* Pastes names after expanding them: FC_JOIN(forward_, FC_DTYPE). */
#define FC_JOIN_(a, b) a##b
#define FC_JOIN(a, b) FC_JOIN_(a, b)
#define FC_JOIN4_(a, b, c, d) a##b##c##d
#define FC_JOIN4(a, b, c, d) FC_JOIN4_(a, b, c, d)

#endif
