/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hash.c - open addressing with linear probing; removed slots are closed by moving followers back.
 */
#include "base/hash.h"

#include "base/bytes.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>
#include <time.h>

struct slot {
    uint64_t sum;
    char *key; /* owned; NULL marks a free slot */
    void *value;
};

struct hash {
    struct slot *slots;
    size_t n_slots; /* power of two */
    size_t used;
};

enum { MIN_SLOTS = 16 };

static uint64_t seed[2];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void seed_init(void)
{
    if (getrandom(seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed)) {
        struct timespec now;

        (void)clock_gettime(CLOCK_REALTIME, &now);
        seed[0] = (uint64_t)now.tv_nsec * 0x9e3779b97f4a7c15u;
        seed[1] = (uint64_t)now.tv_sec * 0xbf58476d1ce4e5b9u;
    }
    seed[1] |= 1;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)a * b;

    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

uint64_t hash_bytes(const void *p, size_t len)
{
    const uint8_t *at = p;
    uint64_t h;

    (void)pthread_once(&seed_once, seed_init);
    h = seed[0] ^ len;
    for (; len >= 8; at += 8, len -= 8) {
        h = mix(h ^ le64_get(at), seed[1]);
    }
    if (len > 0) {
        uint8_t tail[8] = { 0 };

        memcpy(tail, at, len);
        h = mix(h ^ le64_get(tail), seed[1]);
    }
    return mix(h, 0x9e3779b97f4a7c15u ^ seed[1]);
}

struct hash *hash_new(void)
{
    struct hash *h = calloc(1, sizeof(*h));

    if (h == NULL) {
        return NULL;
    }
    h->slots = calloc(MIN_SLOTS, sizeof(*h->slots));
    h->n_slots = MIN_SLOTS;
    return h->slots != NULL ? h : hash_free(h);
}

struct hash *hash_free(struct hash *h)
{
    if (h != NULL) {
        for (size_t i = 0; h->slots != NULL && i < h->n_slots; i++) {
            free(h->slots[i].key);
        }
        free(h->slots);
        free(h);
    }
    return NULL;
}

static struct slot *find(const struct hash *h, const char *key, uint64_t sum)
{
    for (size_t i = sum & (h->n_slots - 1);; i = (i + 1) & (h->n_slots - 1)) {
        struct slot *s = &h->slots[i];

        if (s->key == NULL || (s->sum == sum && strcmp(s->key, key) == 0)) {
            return s;
        }
    }
}

static int grow(struct hash *h)
{
    struct slot *old = h->slots;
    size_t n_old = h->n_slots;
    struct slot *slots = calloc(n_old * 2, sizeof(*slots));

    if (slots == NULL) {
        return -ENOMEM;
    }
    h->slots = slots;
    h->n_slots = n_old * 2;
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].key != NULL) {
            *find(h, old[i].key, old[i].sum) = old[i];
        }
    }
    free(old);
    return 0;
}

void *hash_get(const struct hash *h, const char *key)
{
    return find(h, key, hash_bytes(key, strlen(key)))->value;
}

int hash_add(struct hash *h, const char *key, void *value)
{
    uint64_t sum = hash_bytes(key, strlen(key));
    struct slot *s;

    if (h->used * 4 >= h->n_slots * 3) {
        int r = grow(h);

        if (r < 0) {
            return r;
        }
    }
    s = find(h, key, sum);
    if (s->key != NULL) {
        return -EEXIST;
    }
    s->key = strdup(key);
    if (s->key == NULL) {
        return -ENOMEM;
    }
    s->sum = sum;
    s->value = value;
    h->used++;
    return 0;
}

void *hash_remove(struct hash *h, const char *key)
{
    struct slot *s = find(h, key, hash_bytes(key, strlen(key)));
    void *value = s->value;
    size_t hole = (size_t)(s - h->slots);
    size_t mask = h->n_slots - 1;

    if (s->key == NULL) {
        return NULL;
    }
    free(s->key);
    h->used--;
    /* A follower moves into the hole unless its home lies cyclically behind the hole. */
    for (size_t i = (hole + 1) & mask; h->slots[i].key != NULL; i = (i + 1) & mask) {
        size_t home = h->slots[i].sum & mask;

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            h->slots[hole] = h->slots[i];
            hole = i;
        }
    }
    h->slots[hole] = (struct slot) { .key = NULL };
    return value;
}

size_t hash_count(const struct hash *h)
{
    return h->used;
}

int hash_each(const struct hash *h, int (*fn)(const char *key, void *value, void *arg), void *arg)
{
    for (size_t i = 0; i < h->n_slots; i++) {
        if (h->slots[i].key != NULL) {
            int r = fn(h->slots[i].key, h->slots[i].value, arg);

            if (r != 0) {
                return r;
            }
        }
    }
    return 0;
}
