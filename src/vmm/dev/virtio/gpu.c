/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gpu.c - the graphics device in 2D (virtio 1.2, 5.7): resources that the driver fills from guest
 * memory, one scanout that shows a part of one. virtio-vga has a VGA card beside it, which is shown
 * until the driver has set the scanout.
 */
#include "base/bytes.h"
#include "vmm/dev/display/edid.h"
#include "vmm/dev/display/vga.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/state/stream.h"
#include "vmm/ui/display.h"

#include <errno.h>
#include <string.h>

#define F_EDID (1ull << 1)

enum {
    CMD_GET_DISPLAY_INFO = 0x100,
    CMD_CREATE_2D = 0x101,
    CMD_UNREF = 0x102,
    CMD_SET_SCANOUT = 0x103,
    CMD_FLUSH = 0x104,
    CMD_TRANSFER = 0x105,
    CMD_ATTACH = 0x106,
    CMD_DETACH = 0x107,
    CMD_GET_EDID = 0x10a,
    OK_NODATA = 0x1100,
    OK_DISPLAY_INFO = 0x1101,
    OK_EDID = 0x1104,
    ERR_UNSPEC = 0x1200,
    ERR_MEMORY = 0x1201,
    ERR_SCANOUT = 0x1202,
    ERR_RESOURCE = 0x1203,
    ERR_PARAMETER = 0x1205,

    FLAG_FENCE = 1,
    EVENT_DISPLAY = 1,
    HEADER = 24,
    MAX_SCANOUTS = 16,
    MODE_BYTES = 24,
    EDID_FIELD = 1024,
    MAX_ENTRIES = 16384,
    MAX_COMMAND = 128,
    MAX_REPLY = HEADER + 8 + EDID_FIELD,
    CONFIG_BYTES = 16,
    DEFAULT_HOSTMEM = 256 << 20,
    VGA_MIB = 8,
};

/* A piece of guest memory behind a resource. */
struct backing {
    uint64_t gpa, start; /* start: of this piece within all */
    uint32_t len;
    uint8_t *host;
};

struct resource {
    struct list link;
    uint32_t id, width, height, format;
    uint32_t *pixels; /* owned */
    struct backing *pieces; /* owned */
    uint32_t n_pieces;
};

struct rect {
    uint32_t x, y, w, h;
};

struct gpu {
    struct virtio_dev vd;
    uint32_t opt_xres, opt_yres, opt_outputs;
    uint64_t opt_hostmem;
    bool opt_edid;
    struct list resources;
    uint64_t hostmem;
    uint32_t events, want_width, want_height;
    uint32_t shown; /* the scanout's resource; 0: none */
    struct rect scanout;
    struct display own;
    struct display *display; /* own, or the VGA's */
    bool has_vga;
    struct vga vga;
};

static const struct opt gpu_opts[] = {
    VIRTIO_OPTS(struct gpu),
    OPT_U32(struct gpu, opt_xres, "xres", "1280", "preferred width"),
    OPT_U32(struct gpu, opt_yres, "yres", "800", "preferred height"),
    OPT_U32(struct gpu, opt_outputs, "max_outputs", "1", "accepted: 1"),
    OPT_SIZE(struct gpu, opt_hostmem, "max_hostmem", "268435456", "most memory for resources"),
    OPT_BOOL(struct gpu, opt_edid, "edid", "on", "tells what the monitor can do"),
    OPT_END,
};

/* ---- resources ---- */

static struct resource *find(struct gpu *g, uint32_t id)
{
    LIST_FOREACH (&g->resources, it) {
        struct resource *r = CONTAINER_OF(it, struct resource, link);

        if (r->id == id) {
            return r;
        }
    }
    return NULL;
}

static size_t pixel_bytes(const struct resource *r)
{
    return (size_t)r->width * r->height * 4;
}

static void resource_free(struct gpu *g, struct resource *r)
{
    if (g->shown == r->id) {
        g->shown = 0;
    }
    g->hostmem -= pixel_bytes(r);
    list_remove(&r->link);
    free(r->pieces);
    free(r->pixels);
    free(r);
}

static bool known_format(uint32_t format)
{
    switch (format) {
    case 1:   /* B8G8R8A8 */
    case 2:   /* B8G8R8X8 */
    case 3:   /* A8R8G8B8 */
    case 4:   /* X8R8G8B8 */
    case 67:  /* R8G8B8A8 */
    case 68:  /* X8B8G8R8 */
    case 121: /* A8B8G8R8 */
    case 134: /* R8G8B8X8 */
        return true;
    default:
        return false;
    }
}

/* As the display wants it: 0x00rrggbb. The names give bytes in memory's order. */
static uint32_t convert(uint32_t format, uint32_t v)
{
    switch (format) {
    case 1:
    case 2:
        return v & 0xffffff;
    case 3:
    case 4:
        return __builtin_bswap32(v) & 0xffffff;
    case 67:
    case 134:
        return (v & 0xff) << 16 | (v & 0xff00) | (v >> 16 & 0xff);
    default:
        return (v >> 8 & 0xff) | (v >> 8 & 0xff00) | (v >> 8 & 0xff0000);
    }
}

static struct resource *resource_new(struct gpu *g, uint32_t id, uint32_t width, uint32_t height,
                                     uint32_t format, uint32_t *code)
{
    struct resource *r;

    *code = ERR_PARAMETER;
    if (id == 0 || find(g, id) != NULL) {
        *code = ERR_RESOURCE;
        return NULL;
    }
    if (!known_format(format) || width == 0 || height == 0 || width > DISPLAY_MAX ||
        height > DISPLAY_MAX) {
        return NULL;
    }
    *code = ERR_MEMORY;
    if ((uint64_t)width * height * 4 > g->opt_hostmem - g->hostmem) {
        return NULL;
    }
    r = calloc(1, sizeof(*r));
    if (r == NULL || (r->pixels = calloc((size_t)width * height, 4)) == NULL) {
        free(r);
        return NULL;
    }
    r->id = id;
    r->width = width;
    r->height = height;
    r->format = format;
    g->hostmem += pixel_bytes(r);
    list_append(&g->resources, &r->link);
    *code = OK_NODATA;
    return r;
}

static uint32_t attach(struct gpu *g, struct resource *r, const struct iovec *iov, unsigned n_iov,
                       size_t off, uint32_t n)
{
    struct backing *pieces = n <= MAX_ENTRIES ? calloc(n > 0 ? n : 1, sizeof(*pieces)) : NULL;
    uint64_t start = 0;

    if (pieces == NULL) {
        return n <= MAX_ENTRIES ? ERR_MEMORY : ERR_UNSPEC;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint8_t e[16];

        if (iov_read(iov, n_iov, off + (size_t)i * 16, e, 16) != 16) {
            free(pieces);
            return ERR_UNSPEC;
        }
        pieces[i] = (struct backing) { .gpa = le64_get(e), .start = start, .len = le32_get(e + 8) };
        pieces[i].host = gmem_map(&g->vd.dev.m->mem, pieces[i].gpa, pieces[i].len, false);
        if (pieces[i].host == NULL) {
            free(pieces);
            return ERR_UNSPEC;
        }
        start += pieces[i].len;
    }
    free(r->pieces);
    r->pieces = pieces;
    r->n_pieces = n;
    return OK_NODATA;
}

/* Bytes from behind the resource; what is not there stays as it was. */
static void read_backing(const struct resource *r, uint64_t off, uint8_t *to, size_t len)
{
    uint32_t low = 0;
    uint32_t high = r->n_pieces;

    while (low < high) { /* the first piece that ends after off */
        uint32_t mid = (low + high) / 2;

        if (r->pieces[mid].start + r->pieces[mid].len <= off) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    for (; low < r->n_pieces && len > 0; low++) {
        const struct backing *p = &r->pieces[low];
        size_t skip = off - p->start;
        size_t n = min_u64(p->len - skip, len);

        memcpy(to, p->host + skip, n);
        to += n;
        off += n;
        len -= n;
    }
}

static struct rect get_rect(const uint8_t *p)
{
    return (struct rect) { le32_get(p), le32_get(p + 4), le32_get(p + 8), le32_get(p + 12) };
}

static bool inside(const struct resource *r, const struct rect *a)
{
    return (uint64_t)a->x + a->w <= r->width && (uint64_t)a->y + a->h <= r->height;
}

static void transfer(struct resource *r, const struct rect *a, uint64_t off)
{
    for (uint32_t y = 0; y < a->h && off < 1ull << 40; y++) {
        read_backing(r, off + (uint64_t)y * r->width * 4,
                     (uint8_t *)(r->pixels + (size_t)(a->y + y) * r->width + a->x),
                     (size_t)a->w * 4);
    }
}

/* ---- the picture ---- */

static void paint(struct gpu *g, const struct resource *r, const struct rect *a)
{
    struct display *d = g->display;
    uint32_t from_x = a->x > g->scanout.x ? a->x : g->scanout.x;
    uint32_t from_y = a->y > g->scanout.y ? a->y : g->scanout.y;
    uint32_t to_x = (uint32_t)min_u64((uint64_t)a->x + a->w, g->scanout.x + g->scanout.w);
    uint32_t to_y = (uint32_t)min_u64((uint64_t)a->y + a->h, g->scanout.y + g->scanout.h);

    if (display_resize(d, g->scanout.w, g->scanout.h) < 0) {
        return;
    }
    for (uint32_t y = from_y; y < to_y; y++) {
        const uint32_t *from = r->pixels + (size_t)y * r->width;
        uint32_t *to = d->pixels + (size_t)(y - g->scanout.y) * d->width;

        for (uint32_t x = from_x; x < to_x; x++) {
            to[x - g->scanout.x] = convert(r->format, from[x]);
        }
    }
}

static void gpu_refresh(void *arg)
{
    struct gpu *g = arg;

    if (g->shown == 0 && g->has_vga) {
        vga_refresh(&g->vga);
    } else if (g->shown == 0) {
        (void)display_resize(g->display, 720, 400);
    }
}

static void gpu_propose(void *arg, unsigned width, unsigned height)
{
    struct gpu *g = arg;

    if (width > 0 && height > 0 && width <= DISPLAY_MAX && height <= DISPLAY_MAX) {
        g->want_width = width;
        g->want_height = height;
        g->events |= EVENT_DISPLAY;
        virtio_config_changed(&g->vd);
    }
}

/* ---- commands ---- */

static uint32_t set_scanout(struct gpu *g, const uint8_t *c)
{
    struct rect a = get_rect(c);
    uint32_t id = le32_get(c + 20);
    struct resource *r = id != 0 ? find(g, id) : NULL;

    if (le32_get(c + 16) != 0) {
        return ERR_SCANOUT;
    }
    if (id == 0) {
        g->shown = 0;
        return OK_NODATA;
    }
    if (r == NULL) {
        return ERR_RESOURCE;
    }
    if (!inside(r, &a) || a.w < 16 || a.h < 16) {
        return ERR_PARAMETER;
    }
    g->shown = id;
    g->scanout = a;
    paint(g, r, &a);
    return OK_NODATA;
}

static size_t display_info(const struct gpu *g, uint8_t *reply)
{
    uint8_t *mode = reply + HEADER;

    memset(mode, 0, MAX_SCANOUTS * MODE_BYTES);
    le32_put(mode + 8, g->want_width);
    le32_put(mode + 12, g->want_height);
    le32_put(mode + 16, 1);
    return HEADER + MAX_SCANOUTS * MODE_BYTES;
}

/* The reply's code; *len: its length when it is more than the header. */
static uint32_t run(struct gpu *g, const struct vq_elem *e, const uint8_t *c, uint8_t *reply,
                    size_t *len)
{
    const uint8_t *body = c + HEADER;
    struct resource *r;
    struct rect a;
    uint32_t code;

    switch (le32_get(c)) {
    case CMD_GET_DISPLAY_INFO:
        *len = display_info(g, reply);
        return OK_DISPLAY_INFO;
    case CMD_GET_EDID:
        if (!virtio_has(&g->vd, F_EDID) || le32_get(body) != 0) {
            return ERR_PARAMETER;
        }
        memset(reply + HEADER, 0, 8 + EDID_FIELD);
        le32_put(reply + HEADER, EDID_BYTES);
        edid_make(reply + HEADER + 8, g->want_width, g->want_height);
        *len = HEADER + 8 + EDID_FIELD;
        return OK_EDID;
    case CMD_CREATE_2D:
        (void)resource_new(g, le32_get(body), le32_get(body + 8), le32_get(body + 12),
                           le32_get(body + 4), &code);
        return code;
    case CMD_SET_SCANOUT:
        return set_scanout(g, body);
    case CMD_UNREF:
        r = find(g, le32_get(body));
        if (r == NULL) {
            return ERR_RESOURCE;
        }
        resource_free(g, r);
        return OK_NODATA;
    case CMD_ATTACH:
        r = find(g, le32_get(body));
        return r == NULL ? ERR_RESOURCE
                         : attach(g, r, e->out, e->n_out, HEADER + 8, le32_get(body + 4));
    case CMD_DETACH:
        r = find(g, le32_get(body));
        if (r == NULL) {
            return ERR_RESOURCE;
        }
        r->n_pieces = 0;
        return OK_NODATA;
    case CMD_TRANSFER:
        a = get_rect(body);
        r = find(g, le32_get(body + 24));
        if (r == NULL || !inside(r, &a)) {
            return r == NULL ? ERR_RESOURCE : ERR_PARAMETER;
        }
        transfer(r, &a, le64_get(body + 16));
        return OK_NODATA;
    case CMD_FLUSH:
        a = get_rect(body);
        r = find(g, le32_get(body + 16));
        if (r == NULL || !inside(r, &a)) {
            return r == NULL ? ERR_RESOURCE : ERR_PARAMETER;
        }
        if (r->id == g->shown) {
            paint(g, r, &a);
        }
        return OK_NODATA;
    default:
        return ERR_UNSPEC;
    }
}

static void gpu_handle(struct virtio_dev *vd, unsigned index)
{
    struct gpu *g = (struct gpu *)vd;
    struct vq *vq = &vd->queues[index];
    struct vq_elem *e;
    bool pushed = false;

    while ((e = virtio_pop(vd, vq)) != NULL) {
        uint8_t c[MAX_COMMAND] = { 0 };
        uint8_t reply[MAX_REPLY] = { 0 };
        size_t len = HEADER;
        size_t n = iov_read(e->out, e->n_out, 0, c, sizeof(c));

        if (index == 0 && n >= HEADER) {
            le32_put(reply, run(g, e, c, reply, &len));
            if ((le32_get(c + 4) & FLAG_FENCE) != 0) { /* done is done */
                memcpy(reply + 4, c + 4, HEADER - 4);
            }
            len = iov_write(e->in, e->n_in, 0, reply, len);
        } else {
            len = 0; /* the viewers draw their own pointer */
        }
        vq_push(vq, e, (uint32_t)len);
        pushed = true;
    }
    if (pushed) {
        virtio_notify(vd, vq);
    }
}

static void gpu_get_config(struct virtio_dev *vd, uint8_t *c)
{
    le32_put(c, ((struct gpu *)vd)->events);
    le32_put(c + 8, 1); /* scanouts */
}

static void gpu_set_config(struct virtio_dev *vd, size_t off, const uint8_t *bytes, size_t len)
{
    struct gpu *g = (struct gpu *)vd;

    if (off == 4 && len == 4) {
        g->events &= ~le32_get(bytes);
    }
}

/* ---- life ---- */

static void drop_all(struct gpu *g)
{
    LIST_FOREACH_SAFE (&g->resources, it) {
        resource_free(g, CONTAINER_OF(it, struct resource, link));
    }
    g->shown = 0;
}

static void gpu_reset(struct virtio_dev *vd)
{
    drop_all((struct gpu *)vd);
}

static int gpu_init(struct virtio_dev *vd, struct err **err)
{
    struct gpu *g = (struct gpu *)vd;

    list_init(&g->resources);
    if (g->opt_outputs != 1) {
        return err_set(err, ENOTSUP, "max_outputs=%u: there is one output", g->opt_outputs);
    }
    if (g->opt_xres < 64 || g->opt_yres < 64 || g->opt_xres > DISPLAY_MAX ||
        g->opt_yres > DISPLAY_MAX) {
        return err_set(err, EINVAL, "xres and yres must be 64 to %d", DISPLAY_MAX);
    }
    g->want_width = g->opt_xres;
    g->want_height = g->opt_yres;
    vd->device_features |= g->opt_edid ? F_EDID : 0;
    if (!g->has_vga) {
        g->display = &g->own;
        g->own.device_id = vd->dev.id;
        display_attach(vd->dev.m, &g->own);
    }
    g->own.refresh = gpu_refresh;
    g->own.propose = gpu_propose;
    g->own.arg = g;
    return virtio_set_queues(vd, 2, err);
}

static void gpu_done(struct virtio_dev *vd)
{
    struct gpu *g = (struct gpu *)vd;

    if (g->resources.next != NULL) {
        drop_all(g);
    }
    if (!g->has_vga) {
        display_detach(vd->dev.m, &g->own);
        display_done(&g->own);
    }
}

/* ---- state ---- */

static void gpu_save(struct device *dev, struct state_stream *s)
{
    struct gpu *g = (struct gpu *)dev;
    uint32_t n = 0;

    LIST_FOREACH (&g->resources, it) {
        (void)it;
        n++;
    }
    state_put_record(s, "resources", &n, sizeof(n));
    LIST_FOREACH (&g->resources, it) {
        const struct resource *r = CONTAINER_OF(it, struct resource, link);
        const uint32_t head[] = { r->id, r->width, r->height, r->format, r->n_pieces };

        state_put_record(s, "resource", head, sizeof(head));
        for (uint32_t i = 0; i < r->n_pieces; i++) {
            const uint64_t piece[] = { r->pieces[i].gpa, r->pieces[i].len };

            state_put_record(s, "piece", piece, sizeof(piece));
        }
        for (uint32_t y = 0; y < r->height; y++) {
            state_put(s, r->pixels + (size_t)y * r->width, (size_t)r->width * 4);
        }
    }
    if (g->has_vga) {
        vga_save(&g->vga, s);
    }
}

static int load_resource(struct gpu *g, struct state_stream *s)
{
    uint32_t head[5];
    uint32_t code;
    struct resource *r;
    AUTO_FREE uint8_t *entries = NULL;
    struct iovec iov;

    state_get_record(s, "resource", head, sizeof(head));
    if (s->error != 0 || head[4] > MAX_ENTRIES) {
        return -EINVAL;
    }
    r = resource_new(g, head[0], head[1], head[2], head[3], &code);
    entries = calloc(head[4] + 1u, 16);
    if (r == NULL || entries == NULL) {
        return -EINVAL;
    }
    for (uint32_t i = 0; i < head[4]; i++) {
        uint64_t piece[2];

        state_get_record(s, "piece", piece, sizeof(piece));
        le64_put(entries + (size_t)i * 16, piece[0]);
        le32_put(entries + (size_t)i * 16 + 8, (uint32_t)piece[1]);
    }
    iov = (struct iovec) { .iov_base = entries, .iov_len = (size_t)head[4] * 16 };
    if (s->error != 0 || attach(g, r, &iov, 1, 0, head[4]) != OK_NODATA) {
        return -EINVAL;
    }
    state_get(s, r->pixels, pixel_bytes(r));
    return 0;
}

static void gpu_load(struct device *dev, struct state_stream *s)
{
    struct gpu *g = (struct gpu *)dev;
    uint32_t shown = g->shown;
    uint32_t n = 0;
    struct resource *r;

    drop_all(g);
    state_get_record(s, "resources", &n, sizeof(n));
    for (; n > 0 && s->error == 0; n--) {
        if (load_resource(g, s) < 0) {
            s->error = -EINVAL;
        }
    }
    if (g->has_vga && s->error == 0) {
        vga_load(&g->vga, s);
    }
    r = shown != 0 ? find(g, shown) : NULL;
    if (r != NULL && inside(r, &g->scanout) && g->scanout.w > 0 && g->scanout.h > 0) {
        g->shown = shown;
        paint(g, r, &g->scanout);
    }
}

static const struct state_field gpu_fields[] = {
    FIELD(struct gpu, events),
    FIELD(struct gpu, shown),
    FIELD(struct gpu, scanout),
    FIELD_END,
};

static const struct virtio_class gpu_virtio = {
    .id = VIRTIO_ID_GPU,
    .queue_size = 64,
    .config_size = CONFIG_BYTES,
    .init = gpu_init,
    .done = gpu_done,
    .get_config = gpu_get_config,
    .set_config = gpu_set_config,
    .handle_queue = gpu_handle,
    .reset = gpu_reset,
};

#define GPU_COMMON                                                                  \
    .opts = gpu_opts, .size = sizeof(struct gpu), .virtio = &gpu_virtio,            \
    .fields = gpu_fields, .save_more = gpu_save, .load_more = gpu_load

const struct device_class virtio_gpu_class = {
    .name = "virtio-gpu-device",
    .desc = "graphics without acceleration",
    VIRTIO_MMIO_CALLBACKS,
    GPU_COMMON,
};

const struct device_class virtio_gpu_pci_class = {
    .name = "virtio-gpu-pci",
    .desc = "graphics without acceleration",
    VIRTIO_PCI_CALLBACKS,
    GPU_COMMON,
};

/* ---- virtio-vga ---- */

static int virtio_vga_init(struct pci_dev *pd, struct err **err)
{
    struct gpu *g = (struct gpu *)pd;
    int r;

    g->has_vga = true;
    g->display = &g->vga.display;
    r = virtio_pci.init(pd, err);
    if (r == 0) {
        r = vga_init(&g->vga, pd->dev.m, &pd->dev, (uint64_t)VGA_MIB << 20, err);
    }
    if (r == 0) {
        r = vga_add_legacy(&g->vga, err);
    }
    if (r < 0) {
        return r;
    }
    g->vga.display.refresh = gpu_refresh;
    g->vga.display.propose = gpu_propose;
    g->vga.display.arg = g;
    le16_put(pd->config + PCI_CLASS, 0x0300);
    pci_add_bar_memory(pd, 0, PCI_BAR_MEM32, g->vga.vram_bytes, g->vga.vram, false);
    return pci_add_rom(pd, "vgabios-virtio.bin", err);
}

static void virtio_vga_done(struct pci_dev *pd)
{
    virtio_pci.done(pd);
    vga_done(&((struct gpu *)pd)->vga);
}

static void virtio_vga_reset(struct pci_dev *pd)
{
    virtio_pci.reset(pd);
    vga_reset(&((struct gpu *)pd)->vga);
}

static void virtio_vga_config_written(struct pci_dev *pd, unsigned off, unsigned size)
{
    virtio_pci.config_written(pd, off, size);
}

static const struct pci_class virtio_vga_pci = {
    .vendor = PCI_VENDOR_VIRTIO,
    .pin = 1,
    .express = true,
    .no_hotplug = true,
    .init = virtio_vga_init,
    .done = virtio_vga_done,
    .reset = virtio_vga_reset,
    .config_written = virtio_vga_config_written,
};

const struct device_class virtio_vga_class = {
    .name = "virtio-vga",
    .desc = "graphics without acceleration, and a VGA card",
    .bus = "PCI",
    .realize = pci_realize,
    .reset = pci_reset,
    .destroy = pci_destroy,
    .bus_opts = virtio_pci_opts,
    .pci = &virtio_vga_pci,
    GPU_COMMON,
};
