/* The thread pool: one for the process, created on first use, and the run that a call makes. */
#ifndef FC_THREADS_H
#define FC_THREADS_H

#include "../compiler.h"
#include "../fastconv.h"
#include "../tuning.h"

/* One call of an entry point, shared by its tasks. */
typedef struct {
    int threads;
    fc_question interrupted;  /* may be NULL */
    double next_question;     /* seconds on the monotonic clock */
    fc_float_mode mode;       /* the calling thread's */
    int flush;                /* denormal numbers count as zero in tasks, where each may take a hundred times as long */
    FC_THREAD owner;          /* the calling thread */
    FC_ATOMIC int status;     /* fc_status: the first that was not FC_OK */
} fc_run;

/* How many of `threads` are worth waking for so much work, of which each further one needs `of_a_thread`. */
static inline int fc_useful_threads(int threads, double work, double of_a_thread) {
    const double useful = 1 + work / of_a_thread;
    return useful < threads ? (int)useful : threads;
}

/* A run of at most `threads` threads, to be started by the calling one. */
fc_run fc_start(int threads, fc_question interrupted);

/* Runs task(context, i) for 0 <= i < tasks on at most run->threads threads, the calling one
 * among them, and returns when all are done. Inside a task, or while another caller has the pool,
 * everything runs on the calling thread. */
void fc_parallel(fc_run *run, int tasks, void (*task)(void *context, int task), void *context);

/* Whether a task should return early. Cheap; to be asked every few milliseconds of work. */
int fc_stopped(fc_run *run);

/* Whether a loop over units of work that move so many bytes each should return before this one; asked at every one. */
static inline int fc_stopped_at(fc_run *run, ptrdiff_t unit, ptrdiff_t bytes) {
    return (bytes >= FC_THREADS_QUESTION_BYTES || unit % FC_THREADS_QUESTION_UNITS == 0) && fc_stopped(run);
}

/* The units of one task, of `units` dealt evenly to `tasks`. */
typedef struct {
    ptrdiff_t begin, end;
} fc_units;

static inline fc_units fc_units_of(ptrdiff_t units, ptrdiff_t tasks, ptrdiff_t task) {
    const ptrdiff_t each = units / tasks, more = units % tasks;
    const ptrdiff_t begin = each * task + (task < more ? task : more);
    FC_ASSERT(0 <= task && task < tasks);
    return (fc_units){begin, begin + each + (task < more)};
}

/* Ends a run early: its status, unless it has one that is not FC_OK. */
void fc_stop(fc_run *run, fc_status status);

/* What a run within this one may ask on this thread: run->interrupted on the calling one, else NULL. */
fc_question fc_question_here(const fc_run *run);

/* One thread's tasks, every step-th from `first` on; the thread's floating-point mode is what it was afterwards. */
void fc_run_tasks(int flush, int first, int step, int tasks, void (*task)(void *context, int task), void *context);

#endif
