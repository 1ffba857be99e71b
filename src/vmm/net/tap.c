/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tap.c - a tap interface of the host: by name (ifname=), or as a descriptor that a management
 * program has opened (fd=). No scripts are run.
 */
#include "vmm/net/frames.h"

#include "base/str.h"
#include "codec/keyval.h"
#include "os/fd.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { VIRTIO_HEADER = 10 };

struct tap {
    struct netdev nd;
    struct frames frames;
};

static int refuse_scripts(struct keyval *opts, struct err **err)
{
    static const char *const keys[] = { "script", "downscript" };

    for (size_t i = 0; i < 2; i++) {
        const char *v = keyval_get(opts, keys[i]);

        if (v != NULL && *v != '\0' && !str_eq(v, "no")) {
            return err_set(err, ENOTSUP, "%s=%s: no scripts are run: use %s=no", keys[i], v,
                           keys[i]);
        }
    }
    return 0;
}

/* The kernel's network accelerator is not used: its descriptors are closed. */
static int drop_vhost(struct tap *t, struct keyval *opts, struct err **err)
{
    const char *fd = keyval_get(opts, "vhostfd");
    bool on = false;
    int taken;

    if (keyval_get_bool(opts, "vhost", false, &on, err) < 0) {
        return -EINVAL;
    }
    if (on && fd == NULL) {
        return err_set(err, ENOTSUP, "vhost=on is not supported: use vhost=off");
    }
    if (fd != NULL) {
        taken = machine_take_fd(t->nd.m, fd);
        if (taken < 0) {
            return err_set(err, -taken, "vhostfd=%s: there is no such descriptor", fd);
        }
        (void)close(taken);
    }
    return 0;
}

static int by_name(const char *name, int *ret, struct err **err)
{
    AUTO_FD int fd = fd_open("/dev/net/tun", O_RDWR, 0);
    struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };

    if (fd < 0) {
        int r = fd;

        fd = -1;
        return err_set(err, -r, "cannot open /dev/net/tun: %s", strerror(-r));
    }
    if (name != NULL && strlen(name) >= sizeof(ifr.ifr_name)) {
        return err_set(err, EINVAL, "ifname=%s is too long", name);
    }
    if (name != NULL) {
        memcpy(ifr.ifr_name, name, strlen(name));
    }
    if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
        return err_set(err, errno, "cannot use the tap interface '%s': %s",
                       name != NULL ? name : "", strerror(errno));
    }
    *ret = TAKE_FD(fd);
    return 0;
}

static int tap_open(struct netdev *nd, struct keyval *opts, struct err **err)
{
    struct tap *t = (struct tap *)nd;
    const char *fd_name = keyval_get(opts, "fd");
    const char *ifname = keyval_get(opts, "ifname");
    AUTO_FD int fd = -1;
    struct ifreq ifr = { .ifr_flags = 0 };
    int size = VIRTIO_HEADER;
    int r = refuse_scripts(opts, err);

    frames_init(&t->frames, nd);
    if (r == 0) {
        r = drop_vhost(t, opts, err);
    }
    if (r == 0 && fd_name != NULL && ifname != NULL) {
        r = err_set(err, EINVAL, "fd= and ifname= exclude each other");
    }
    if (r == 0 && fd_name != NULL) {
        fd = machine_take_fd(nd->m, fd_name);
        r = fd < 0 ? err_set(err, -fd, "fd=%s: there is no such descriptor", fd_name) : 0;
    } else if (r == 0) {
        r = by_name(ifname, &fd, err);
    }
    if (r < 0) {
        return r;
    }
    if (ioctl(fd, TUNGETIFF, &ifr) < 0) {
        return err_set(err, EINVAL, "fd=%s is no tap", fd_name != NULL ? fd_name : "");
    }
    if ((ifr.ifr_flags & IFF_VNET_HDR) != 0) {
        t->frames.header = VIRTIO_HEADER;
        (void)ioctl(fd, TUNSETVNETHDRSZ, &size);
    }
    (void)ioctl(fd, TUNSETOFFLOAD, 0); /* whole frames with their checksums, please */
    return frames_open(&t->frames, TAKE_FD(fd), FRAMES_TAP, err);
}

static void tap_close(struct netdev *nd)
{
    frames_close(&((struct tap *)nd)->frames);
}

static int tap_send(struct netdev *nd, const struct iovec *iov, unsigned n)
{
    return frames_send(&((struct tap *)nd)->frames, iov, n);
}

static void tap_resume(struct netdev *nd)
{
    frames_resume(&((struct tap *)nd)->frames);
}

const struct netdev_class netdev_tap = {
    .name = "tap",
    .size = sizeof(struct tap),
    .open = tap_open,
    .close = tap_close,
    .send = tap_send,
    .resume = tap_resume,
};
