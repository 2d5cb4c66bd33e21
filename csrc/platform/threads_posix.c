/* The thread pool on systems with POSIX threads. */
#include "../compiler.h"
#include "../tuning.h"
#include "threads.h"

#if FC_HAS_THREADS

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>

enum { MAX_WORKERS = 1023 };

/* With the number of threads.c and the workspace that memory.c keeps, all mutable state of the library. `signal`
 * counts calls and, in its low bits, names how many workers the last one wants, so that both change at once. */
static struct {
    pthread_mutex_t owner; /* held by the caller that has the pool */
    pthread_mutex_t mutex; /* guards sleeping and waking */
    pthread_cond_t wake, done;
    pthread_t threads[MAX_WORKERS];
    int workers, prepared_for_fork;
    FC_ATOMIC uint64_t signal;
    FC_ATOMIC int remaining, sleepers;
    FC_ATOMIC int forks; /* between this process and the one that loaded the library */
    int tasks, flush;
    void (*run)(void *context, int task);
    void *context;
} pool = {
    .owner = PTHREAD_MUTEX_INITIALIZER,
    .mutex = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
    .done = PTHREAD_COND_INITIALIZER,
};

#if FC_HAS_AFFINITY

/* Keeps the sleeping workers off the processor that their caller runs on. A virtual machine's idle
 * processors can look taken to the scheduler, which then wakes a worker beside its caller: called
 * every 10 ms on two processors, rn50_l1_3x3 took 10.8 ms instead of 5.6. */
static void move_workers(int helpers) {
    cpu_set_t allowed;
    if (helpers > FC_THREADS_MAX_MOVED || sched_getaffinity(0, sizeof allowed, &allowed)) return;
    const int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE || CPU_COUNT(&allowed) <= helpers) return;
    CPU_CLR(here, &allowed);
    for (int i = 0; i < helpers; i++)
        pthread_setaffinity_np(pool.threads[i], sizeof allowed, &allowed);
}

#else

static void move_workers(int helpers) { (void)helpers; }

#endif

static int wanted(uint64_t signal) { return (int)(signal & MAX_WORKERS); }

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* A forked child has none of the workers, and locks in any state. */
static void reset_in_child(void) {
    pthread_mutex_init(&pool.owner, NULL);
    pthread_mutex_init(&pool.mutex, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.workers = 0;
    atomic_store(&pool.signal, 0);
    atomic_store(&pool.remaining, 0);
    atomic_store(&pool.sleepers, 0);
    atomic_fetch_add(&pool.forks, 1);
}

static uint64_t next_signal(uint64_t seen) {
    for (int i = 0; i < FC_THREADS_SPINS; i++) {
        const uint64_t now = atomic_load_explicit(&pool.signal, memory_order_acquire);
        if (now != seen) return now;
        FC_PAUSE();
    }
    pthread_mutex_lock(&pool.mutex);
    atomic_fetch_add(&pool.sleepers, 1);
    while (atomic_load(&pool.signal) == seen) pthread_cond_wait(&pool.wake, &pool.mutex);
    atomic_fetch_sub(&pool.sleepers, 1);
    pthread_mutex_unlock(&pool.mutex);
    return atomic_load(&pool.signal);
}

static void *work(void *argument) {
    const int index = (int)(intptr_t)argument;
    uint64_t seen = 0;
    for (;;) {
        seen = next_signal(seen);
        if (index > wanted(seen)) continue;
        fc_run_tasks(pool.flush, index, wanted(seen) + 1, pool.tasks, pool.run, pool.context);
        if (atomic_fetch_sub(&pool.remaining, 1) == 1) {
            pthread_mutex_lock(&pool.mutex);
            pthread_cond_signal(&pool.done);
            pthread_mutex_unlock(&pool.mutex);
        }
    }
    return NULL;
}

/* As many workers as the system grants, up to `count`. They take no signals: those are the
 * interpreter's. */
static void grow(int count) {
    if (!pool.prepared_for_fork) {
        pool.prepared_for_fork = 1;
        pthread_atfork(NULL, NULL, reset_in_child);
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.workers < count) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, (void *)(intptr_t)(pool.workers + 1))) break;
        pthread_detach(thread);
        pool.threads[pool.workers++] = thread;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void ask(fc_run *run) {
    const double now = seconds();
    if (now < run->next_question) return;
    if (run->next_question > 0) {
        /* A signal handler may fork: the child has none of the workers that the run counts on. */
        const int forks = atomic_load(&pool.forks);
        const fc_float_mode here = fc_get_float_mode();
        fc_set_float_mode(run->mode);
        if (run->interrupted()) fc_stop(run, FC_INTERRUPTED);
        fc_set_float_mode(here);
        if (atomic_load(&pool.forks) != forks) fc_stop(run, FC_FORKED);
    }
    run->next_question = now + FC_THREADS_QUESTION_SECONDS;
}

static void wait_for_workers(fc_run *run) {
    for (int i = 0; i < FC_THREADS_SPINS; i++) {
        if (!atomic_load_explicit(&pool.remaining, memory_order_acquire)) return;
        FC_PAUSE();
    }
    while (atomic_load_explicit(&pool.remaining, memory_order_acquire)) {
        if (run->interrupted) ask(run);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += FC_THREADS_NAP_NANOSECONDS;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_mutex_lock(&pool.mutex);
        if (atomic_load(&pool.remaining)) pthread_cond_timedwait(&pool.done, &pool.mutex, &until);
        pthread_mutex_unlock(&pool.mutex);
    }
}

void fc_parallel(fc_run *run, int tasks, void (*task)(void *context, int task), void *context) {
    const int threads = run->threads < tasks ? run->threads : tasks;
    const int forks = atomic_load(&pool.forks);
    int helpers = threads - 1 < MAX_WORKERS ? threads - 1 : MAX_WORKERS;
    if (helpers > 0 && !pthread_mutex_trylock(&pool.owner)) {
        grow(helpers);
        if (helpers > pool.workers) helpers = pool.workers;
        pool.tasks = tasks;
        pool.flush = run->flush;
        pool.run = task;
        pool.context = context;
        atomic_store(&pool.remaining, helpers);
        const uint64_t calls = atomic_load(&pool.signal) / (MAX_WORKERS + 1) + 1;
        atomic_store(&pool.signal, calls * (MAX_WORKERS + 1) + (uint64_t)helpers);
        if (atomic_load(&pool.sleepers)) {
            move_workers(helpers);
            pthread_mutex_lock(&pool.mutex);
            pthread_cond_broadcast(&pool.wake);
            pthread_mutex_unlock(&pool.mutex);
        }
        fc_run_tasks(run->flush, 0, helpers + 1, tasks, task, context);
        wait_for_workers(run);
        if (atomic_load(&pool.forks) == forks) pthread_mutex_unlock(&pool.owner);
        return;
    }
    fc_run_tasks(run->flush, 0, 1, tasks, task, context);
}

fc_run fc_start(int threads, fc_question interrupted) {
    return (fc_run){.threads = threads, .interrupted = interrupted, .mode = fc_get_float_mode(),
                    .owner = pthread_self(), .status = FC_OK};
}

int fc_stopped(fc_run *run) {
    if (run->interrupted && pthread_equal(run->owner, pthread_self())) ask(run);
    return atomic_load_explicit(&run->status, memory_order_relaxed) != FC_OK;
}

fc_question fc_question_here(const fc_run *run) {
    return pthread_equal(run->owner, pthread_self()) ? run->interrupted : NULL;
}

void fc_stop(fc_run *run, fc_status status) {
    int fine = FC_OK;
    atomic_compare_exchange_strong(&run->status, &fine, (int)status);
}

#endif
