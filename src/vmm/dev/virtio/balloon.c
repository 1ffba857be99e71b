/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * balloon.c - the memory balloon (virtio 1.2, 5.5): pages that the guest gives up go back to the
 * host, statistics of the guest's memory, reports of free pages.
 *
 * Queues: inflate, deflate, statistics, and with the feature reports. The statistics buffer stays
 * with us until somebody wants fresh numbers (5.5.6.3).
 */
#include "vmm/dev/virtio/balloon.h"

#include "base/bytes.h"
#include "base/str.h"
#include "codec/json.h"
#include "vmm/dev/virtio/virtio.h"

#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#define F_STATS_VQ       (1ull << 1)
#define F_DEFLATE_ON_OOM (1ull << 2)
#define F_PAGE_POISON    (1ull << 4)
#define F_REPORTING      (1ull << 5)

enum {
    PFN_SHIFT = 12,
    PAGE = 1 << PFN_SHIFT,
    Q_INFLATE = 0,
    Q_DEFLATE = 1,
    Q_STATS = 2,
    Q_REPORTING = 3,
    CONFIG_BYTES = 16,
    STAT_BYTES = 10,
    N_STATS = 10,
    MAX_PERIOD = 3600,
    EVENT_USEC = 1000000,
};

struct balloon {
    struct virtio_dev vd;
    bool opt_deflate_on_oom, opt_reporting, opt_poison;
    uint32_t wanted_pages, actual_pages, poison;
    uint64_t stats[N_STATS];
    int64_t stats_at; /* seconds since 1970; 0: never */
    uint32_t period;  /* seconds between requests; 0: none */
    struct vq_elem *stats_elem; /* the buffer that we keep; owned */
    uint32_t stats_epoch;
    struct loop_source *timer;
    /* BALLOON_CHANGE comes once a second at most. */
    struct loop_source *event_timer;
    bool event_waits;
    uint64_t event_at_usec;
};

static const struct opt balloon_opts[] = {
    VIRTIO_OPTS(struct balloon),
    OPT_BOOL(struct balloon, opt_deflate_on_oom, "deflate-on-oom", "off",
             "the guest may take pages back when it runs out of memory"),
    OPT_BOOL(struct balloon, opt_reporting, "free-page-reporting", "off",
             "the guest tells which pages it does not use"),
    OPT_BOOL(struct balloon, opt_poison, "page-poison", "on", "free pages may hold a pattern"),
    OPT_END,
};

/* Names of the statistics by tag (5.5.6.4), as QMP has them. */
static const char *const stat_names[N_STATS] = {
    "stat-swap-in",      "stat-swap-out",     "stat-major-faults",     "stat-minor-faults",
    "stat-free-memory",  "stat-total-memory", "stat-available-memory", "stat-disk-caches",
    "stat-htlb-pgalloc", "stat-htlb-pgfail",
};

/* ---- pages ---- */

static void release(uint8_t *host, size_t len)
{
    if (len > 0) {
        (void)madvise(host, len, MADV_DONTNEED);
    }
}

static void inflate(struct balloon *b, const struct vq_elem *e)
{
    const struct gmem *mem = &b->vd.dev.m->mem;
    size_t n = iov_size(e->out, e->n_out) / 4;
    uint8_t *run = NULL; /* pages that follow one another go in one call */
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        uint8_t pfn[4];
        uint8_t *host;

        if (iov_read(e->out, e->n_out, i * 4, pfn, 4) != 4) {
            break;
        }
        host = gmem_map(mem, (uint64_t)le32_get(pfn) << PFN_SHIFT, PAGE, true);
        if (host == NULL) {
            continue;
        }
        if (run != NULL && host == run + len) {
            len += PAGE;
        } else if (run != NULL && host == run - PAGE) {
            run = host;
            len += PAGE;
        } else {
            release(run, len);
            run = host;
            len = PAGE;
        }
    }
    release(run, len);
}

/* Whole pages of the buffers are free; with a pattern in them they cannot become zeroes. */
static void report(struct balloon *b, const struct vq_elem *e)
{
    for (unsigned i = 0; i < e->n_in && b->poison == 0; i++) {
        uintptr_t from = round_up_u64((uintptr_t)e->in[i].iov_base, PAGE);
        uintptr_t to = ((uintptr_t)e->in[i].iov_base + e->in[i].iov_len) & ~(uintptr_t)(PAGE - 1);

        if (to > from) {
            release((uint8_t *)from, to - from);
        }
    }
}

/* ---- statistics ---- */

static void take_stats(struct balloon *b, const struct vq_elem *e)
{
    size_t n = iov_size(e->out, e->n_out) / STAT_BYTES;

    for (size_t i = 0; i < N_STATS; i++) {
        b->stats[i] = UINT64_MAX;
    }
    for (size_t i = 0; i < n && i < 64; i++) {
        uint8_t stat[STAT_BYTES];

        if (iov_read(e->out, e->n_out, i * STAT_BYTES, stat, sizeof(stat)) == sizeof(stat) &&
            le16_get(stat) < N_STATS) {
            b->stats[le16_get(stat)] = le64_get(stat + 2);
        }
    }
    b->stats_at = time(NULL);
}

static void arm(struct balloon *b)
{
    if (b->timer != NULL && b->period != 0) {
        (void)loop_timer_arm(b->timer, loop_now_usec() + b->period * UINT64_C(1000000));
    }
}

/* The guest fills a new buffer when it gets the old one back. */
static void ask_stats(void *arg)
{
    struct balloon *b = arg;
    struct vq *vq = &b->vd.queues[Q_STATS];

    if (b->stats_elem != NULL && virtio_ready(&b->vd)) {
        struct vq_elem *e = TAKE_PTR(b->stats_elem);

        vq_push(vq, e, 0);
        virtio_notify(&b->vd, vq);
    }
    arm(b);
}

static void handle_stats(struct balloon *b)
{
    struct vq *vq = &b->vd.queues[Q_STATS];
    struct vq_elem *e;

    while ((e = virtio_pop(&b->vd, vq)) != NULL) {
        take_stats(b, e);
        if (b->stats_elem != NULL) { /* there should be one only */
            vq_push(vq, b->stats_elem, 0);
        }
        b->stats_elem = e;
    }
}

static void balloon_handle(struct virtio_dev *vd, unsigned index)
{
    struct balloon *b = (struct balloon *)vd;
    struct vq *vq = &vd->queues[index];
    struct vq_elem *e;
    bool pushed = false;

    if (index == Q_STATS) {
        handle_stats(b);
        return;
    }
    while ((e = virtio_pop(vd, vq)) != NULL) {
        if (index == Q_INFLATE) {
            inflate(b, e);
        } else if (index == Q_REPORTING) {
            report(b, e);
        }
        vq_push(vq, e, 0);
        pushed = true;
    }
    if (pushed) {
        virtio_notify(vd, vq);
    }
}

/* ---- configuration ---- */

static uint64_t guest_bytes(const struct balloon *b)
{
    uint64_t away = (uint64_t)b->actual_pages << PFN_SHIFT;

    return b->vd.dev.m->ram_bytes > away ? b->vd.dev.m->ram_bytes - away : 0;
}

static void balloon_get_config(struct virtio_dev *vd, uint8_t *c)
{
    const struct balloon *b = (struct balloon *)vd;

    le32_put(c, b->wanted_pages);
    le32_put(c + 4, b->actual_pages);
    le32_put(c + 12, b->poison);
}

static void tell_change(void *arg)
{
    struct balloon *b = arg;

    b->event_waits = false;
    b->event_at_usec = loop_now_usec();
    machine_event(b->vd.dev.m, "BALLOON_CHANGE", "{\"actual\": %llu}",
                  (unsigned long long)guest_bytes(b));
}

/* On a vCPU's thread: the timer is armed on the loop's. */
static void change_soon(void *arg)
{
    struct balloon *b = arg;
    uint64_t due = b->event_at_usec + EVENT_USEC;

    if (loop_now_usec() >= due || loop_timer_arm(b->event_timer, due) < 0) {
        tell_change(b);
    }
}

static void balloon_set_config(struct virtio_dev *vd, size_t off, const uint8_t *bytes, size_t len)
{
    struct balloon *b = (struct balloon *)vd;
    uint8_t c[CONFIG_BYTES];

    balloon_get_config(vd, c);
    memcpy(c + off, bytes, len);
    b->poison = le32_get(c + 12);
    if (le32_get(c + 4) != b->actual_pages) {
        b->actual_pages = le32_get(c + 4);
        if (!b->event_waits && vd->dev.m->loop != NULL) {
            b->event_waits = loop_post(vd->dev.m->loop, change_soon, b) == 0;
        }
    }
}

static void balloon_reset(struct virtio_dev *vd)
{
    struct balloon *b = (struct balloon *)vd;

    b->stats_elem = vq_elem_free(b->stats_elem);
    b->poison = 0;
    b->actual_pages = 0; /* what the guest had given up is its own again */
}

static int balloon_init(struct virtio_dev *vd, struct err **err)
{
    struct balloon *b = (struct balloon *)vd;
    int r = 0;

    LIST_FOREACH (&vd->dev.m->devices, it) {
        const struct device *other = CONTAINER_OF(it, struct device, link);

        if (other->cls->virtio != NULL && other->cls->virtio->id == VIRTIO_ID_BALLOON) {
            return err_set(err, EBUSY, "a machine has one balloon only");
        }
    }
    vd->device_features |= F_STATS_VQ | (b->opt_deflate_on_oom ? F_DEFLATE_ON_OOM : 0) |
                           (b->opt_poison ? F_PAGE_POISON : 0) |
                           (b->opt_reporting ? F_REPORTING : 0);
    for (size_t i = 0; i < N_STATS; i++) {
        b->stats[i] = UINT64_MAX;
    }
    if (vd->dev.m->loop != NULL) {
        r = loop_add_timer(vd->dev.m->loop, ask_stats, b, &b->timer);
    }
    if (r == 0 && vd->dev.m->loop != NULL) {
        r = loop_add_timer(vd->dev.m->loop, tell_change, b, &b->event_timer);
    }
    return r == 0 ? virtio_set_queues(vd, b->opt_reporting ? 4 : 3, err)
                  : err_set(err, -r, "cannot make a timer");
}

static void balloon_done(struct virtio_dev *vd)
{
    struct balloon *b = (struct balloon *)vd;

    b->timer = loop_source_free(b->timer);
    b->event_timer = loop_source_free(b->event_timer);
    b->stats_elem = vq_elem_free(b->stats_elem);
}

/* ---- for QMP ---- */

static struct balloon *find(struct machine *m, struct err **err)
{
    LIST_FOREACH (&m->devices, it) {
        struct device *dev = CONTAINER_OF(it, struct device, link);

        if (dev->cls->virtio != NULL && dev->cls->virtio->id == VIRTIO_ID_BALLOON) {
            return (struct balloon *)dev;
        }
    }
    (void)err_set(err, ENODEV, "No balloon device has been activated");
    return NULL;
}

int balloon_set(struct machine *m, uint64_t bytes, struct err **err)
{
    struct balloon *b = find(m, err);

    if (b == NULL) {
        return -ENODEV;
    }
    if (bytes == 0) {
        return err_set(err, EINVAL, "Parameter 'target' expects a size");
    }
    bytes = min_u64(bytes, m->ram_bytes);
    b->wanted_pages = (uint32_t)((m->ram_bytes - bytes) >> PFN_SHIFT);
    virtio_config_changed(&b->vd);
    return 0;
}

int balloon_get(struct machine *m, uint64_t *ret_bytes, struct err **err)
{
    const struct balloon *b = find(m, err);

    if (b == NULL) {
        return -ENODEV;
    }
    *ret_bytes = guest_bytes(b);
    return 0;
}

static struct json_object *get_stats(struct device *dev)
{
    const struct balloon *b = (const struct balloon *)dev;
    struct json_object *o = json_object_new_object();
    struct json_object *stats = json_object_new_object();

    for (size_t i = 0; i < N_STATS; i++) {
        (void)json_add_u64(stats, stat_names[i], b->stats[i]);
    }
    (void)json_add(o, "stats", stats);
    (void)json_add_i64(o, "last-update", b->stats_at);
    return o;
}

static struct json_object *get_period(struct device *dev)
{
    return json_object_new_int64(((const struct balloon *)dev)->period);
}

static int set_period(struct device *dev, struct json_object *value, struct err **err)
{
    struct balloon *b = (struct balloon *)dev;
    int64_t v = json_object_get_int64(value);

    if (!json_object_is_type(value, json_type_int) || v < 0 || v > MAX_PERIOD) {
        return err_set(err, EINVAL, "timer value must be 0 to %d seconds", MAX_PERIOD);
    }
    b->period = (uint32_t)v;
    if (v == 0 && b->timer != NULL) {
        (void)loop_timer_disarm(b->timer);
    } else {
        ask_stats(b);
    }
    return 0;
}

static const struct device_prop balloon_props[] = {
    { "guest-stats", "guest statistics", get_stats, NULL },
    { "guest-stats-polling-interval", "int", get_period, set_period },
    { NULL, NULL, NULL, NULL },
};

/* ---- state ---- */

/* The buffer that we keep is taken again after loading. */
static void balloon_pre_save(struct device *dev)
{
    struct balloon *b = (struct balloon *)dev;

    if (b->stats_elem != NULL) {
        vq_unpop(&b->vd.queues[Q_STATS], TAKE_PTR(b->stats_elem));
        virtio_kick(&b->vd, Q_STATS);
    }
}

static int balloon_post_load(struct device *dev, struct err **err)
{
    (void)err;
    arm((struct balloon *)dev);
    return 0;
}

static const struct state_field balloon_fields[] = {
    FIELD(struct balloon, wanted_pages),
    FIELD(struct balloon, actual_pages),
    FIELD(struct balloon, poison),
    FIELD(struct balloon, period),
    FIELD_END,
};

static const struct virtio_class balloon_virtio = {
    .id = VIRTIO_ID_BALLOON,
    .queue_size = 128,
    .config_size = CONFIG_BYTES,
    .init = balloon_init,
    .done = balloon_done,
    .get_config = balloon_get_config,
    .set_config = balloon_set_config,
    .handle_queue = balloon_handle,
    .reset = balloon_reset,
};

#define BALLOON_COMMON                                                                    \
    .desc = "memory balloon", .opts = balloon_opts, .size = sizeof(struct balloon),       \
    .virtio = &balloon_virtio, .props = balloon_props, .fields = balloon_fields,          \
    .pre_save = balloon_pre_save, .post_load = balloon_post_load

const struct device_class virtio_balloon_class = {
    .name = "virtio-balloon-device",
    VIRTIO_MMIO_CALLBACKS,
    BALLOON_COMMON,
};

const struct device_class virtio_balloon_pci_class = {
    .name = "virtio-balloon-pci",
    VIRTIO_PCI_CALLBACKS,
    BALLOON_COMMON,
};
