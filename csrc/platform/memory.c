#include "memory.h"

#include <stdint.h>
#include <stdlib.h>

#include "../compiler.h"
#include "../tuning.h"

/* Before each block, FC_ALIGNMENT bytes wide. */
typedef struct {
    size_t bytes; /* behind it; 0: not to be kept */
} header;
_Static_assert(sizeof(header) <= FC_ALIGNMENT, "a block begins FC_ALIGNMENT bytes behind its header");

static void *new_block(size_t bytes, size_t kept) {
    header *h = NULL;
    if (bytes > PTRDIFF_MAX - FC_ALIGNMENT) return NULL; /* a size that has wrapped, too */
#if FC_HAS_THREADS
    if (posix_memalign((void **)&h, FC_ALIGNMENT, FC_ALIGNMENT + bytes)) return NULL;
#else
    h = malloc(FC_ALIGNMENT + bytes);
    if (!h) return NULL;
#endif
    h->bytes = kept;
    return (char *)h + FC_ALIGNMENT;
}

static header *header_of(void *block) { return (header *)((char *)block - FC_ALIGNMENT); }

/* A sanitizer sees where a block ends if it is as long as was asked for. */
#if FC_HAS_THREADS && !FC_HAS_ADDRESS_SANITIZER

#include <pthread.h>

static struct {
    pthread_mutex_t mutex;
    pthread_once_t once;
    void *blocks[FC_MEMORY_KEPT_BLOCKS];
    int count;
    size_t bytes;
} kept = {.mutex = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

static void lock(void) { pthread_mutex_lock(&kept.mutex); }
static void unlock(void) { pthread_mutex_unlock(&kept.mutex); }

/* A fork finds the list at rest. */
static void prepare_for_fork(void) { pthread_atfork(lock, unlock, unlock); }

static void *take(int index) {
    void *block = kept.blocks[index];
    kept.blocks[index] = kept.blocks[--kept.count];
    kept.bytes -= header_of(block)->bytes;
    return block;
}

/* Gives back what is kept. */
static void free_kept(void) {
    lock();
    while (kept.count) free(header_of(take(0)));
    unlock();
}

/* Where there is no memory, what is kept goes first. */
static void *new_block_at_any_price(size_t bytes, size_t to_keep) {
    void *block = new_block(bytes, to_keep);
    if (block) return block;
    free_kept();
    return new_block(bytes, to_keep);
}

void *fc_scratch_acquire(size_t bytes) {
    if (bytes < FC_MEMORY_SMALL) return new_block_at_any_price(bytes, 0);
    void *block = NULL;
    pthread_once(&kept.once, prepare_for_fork);
    lock();
    int best = -1;
    for (int i = 0; i < kept.count; i++) {
        const size_t size = header_of(kept.blocks[i])->bytes;
        if (size < bytes || size / 4 > bytes) continue;
        if (best < 0 || size < header_of(kept.blocks[best])->bytes) best = i;
    }
    if (best >= 0) block = take(best);
    unlock();
    return block ? block : new_block_at_any_price(bytes, bytes);
}

void fc_scratch_release(void *block) {
    if (!block) return;
    void *surplus[FC_MEMORY_KEPT_BLOCKS];
    int count = 0;
    const size_t bytes = header_of(block)->bytes;
    if (bytes && bytes <= FC_MEMORY_KEPT_BYTES) {
        lock();
        while (kept.count && (kept.count == FC_MEMORY_KEPT_BLOCKS || kept.bytes + bytes > FC_MEMORY_KEPT_BYTES))
            surplus[count++] = take(0);
        kept.blocks[kept.count++] = block;
        kept.bytes += bytes;
        unlock();
    } else {
        surplus[count++] = block;
    }
    while (count) free(header_of(surplus[--count]));
}

#else

void *fc_scratch_acquire(size_t bytes) { return new_block(bytes, 0); }

void fc_scratch_release(void *block) {
    if (block) free(header_of(block));
}

#endif
