/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/network/tap.h"

#include "base/str.h"
#include "os/process.h"
#include "rpc/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static unsigned next_vnet;

static int control(void)
{
    return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static void name_into(struct ifreq *ifr, const char *name)
{
    memset(ifr, 0, sizeof(*ifr));
    (void)snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
}

bool link_exists(const char *name)
{
    return if_nametoindex(name) != 0;
}

int link_up(const char *name, bool up, struct err **err)
{
    AUTO_FD int s = control();
    struct ifreq ifr;

    name_into(&ifr, name);
    if (s < 0 || ioctl(s, SIOCGIFFLAGS, &ifr) < 0) {
        return err_set(err, errno, "cannot read the flags of '%s': %s", name, strerror(errno));
    }
    ifr.ifr_flags = (short)(up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP);
    if (ioctl(s, SIOCSIFFLAGS, &ifr) < 0) {
        return err_set(err, errno, "cannot bring '%s' %s: %s", name, up ? "up" : "down",
                       strerror(errno));
    }
    return 0;
}

static int set_mac(int s, const char *name, const char *mac)
{
    struct ifreq ifr;
    unsigned m[6];

    name_into(&ifr, name);
    ifr.ifr_hwaddr.sa_family = 1; /* ARPHRD_ETHER */
    if (sscanf(mac, "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) != 6) {
        return -EINVAL;
    }
    for (int i = 0; i < 6; i++) {
        ifr.ifr_hwaddr.sa_data[i] = (char)m[i];
    }
    return ioctl(s, SIOCSIFHWADDR, &ifr) < 0 ? -errno : 0;
}

/* The host's side must not have the guest's address; libvirt sets its first byte to fe. */
static char *host_mac(const char *mac)
{
    return mac != NULL && strlen(mac) == 17 ? str_format("fe%s", mac + 2) : NULL;
}

static int join_bridge(const char *bridge, const char *name, struct err **err)
{
    AUTO_FD int s = control();
    struct ifreq ifr;

    name_into(&ifr, bridge);
    ifr.ifr_ifindex = (int)if_nametoindex(name);
    if (s < 0 || ioctl(s, SIOCBRADDIF, &ifr) < 0) {
        return err_set(err, errno, "Unable to add bridge %s port %s: %s", bridge, name,
                       strerror(errno));
    }
    return 0;
}

int tap_open(const char *name, const char *bridge, const char *mac, unsigned mtu, bool down,
             int *ret_fd, char **ret_name, struct err **err)
{
    AUTO_FD int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    AUTO_FD int s = control();
    AUTO_FREE char *host = host_mac(mac);
    struct ifreq ifr;
    char vnet[IFNAMSIZ];
    int r;

    if (bridge != NULL && !link_exists(bridge)) {
        return err_set(err, ENODEV, "Cannot get interface MTU on '%s': %s", bridge,
                       strerror(ENODEV));
    }
    if (fd < 0) {
        return err_set(err, errno, "Unable to open /dev/net/tun, is tun module loaded?: %s",
                       strerror(errno));
    }
    if (name == NULL) {
        do {
            (void)snprintf(vnet, sizeof(vnet), "vnet%u", next_vnet++);
        } while (link_exists(vnet));
        name = vnet;
    }
    name_into(&ifr, name);
    ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
        return err_set(err, errno, "Unable to create tap device %s: %s", name, strerror(errno));
    }
    if (host != NULL) {
        (void)set_mac(s, ifr.ifr_name, host);
    }
    if (mtu > 0) {
        struct ifreq m;

        name_into(&m, ifr.ifr_name);
        m.ifr_mtu = (int)mtu;
        (void)ioctl(s, SIOCSIFMTU, &m);
    }
    if (bridge != NULL) {
        r = join_bridge(bridge, ifr.ifr_name, err);
        if (r < 0) {
            return r;
        }
    }
    r = link_up(ifr.ifr_name, !down, err);
    if (r < 0) {
        return r;
    }
    *ret_name = strdup(ifr.ifr_name);
    if (*ret_name == NULL) {
        return -ENOMEM;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int ip(const char *const *argv, struct err **err)
{
    AUTO_FREE char *out = NULL;

    return process_capture(argv, 65536, &out, err);
}

int macvtap_open(const char *parent, const char *mode, const char *mac, int *ret_fd,
                 char **ret_name, struct err **err)
{
    static unsigned next;
    char name[IFNAMSIZ], dev[64];
    AUTO_FD int fd = -1;
    int r;

    do {
        (void)snprintf(name, sizeof(name), "macvtap%u", next++);
    } while (link_exists(name));
    {
        const char *const argv[] = { "ip",      "link", "add",  "link",    parent, "name", name,
                                     "address", mac,    "type", "macvtap", "mode", mode,   NULL };

        r = ip(argv, err);
    }
    r = r == 0 ? link_up(name, true, err) : r;
    if (r < 0) {
        return r;
    }
    (void)snprintf(dev, sizeof(dev), "/dev/tap%u", if_nametoindex(name));
    fd = open(dev, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        r = err_set(err, errno, "cannot open macvtap tap device %s: %s", dev, strerror(errno));
        {
            const char *const argv[] = { "ip", "link", "del", name, NULL };

            (void)ip(argv, NULL);
        }
        return r;
    }
    *ret_name = strdup(name);
    *ret_fd = TAKE_FD(fd);
    return *ret_name != NULL ? 0 : -ENOMEM;
}

int bridge_make(const char *name, const char *mac, struct err **err)
{
    AUTO_FD int s = control();

    if (s < 0 || (ioctl(s, SIOCBRADDBR, name) < 0 && errno != EEXIST)) {
        return err_set(err, errno, "Unable to create bridge %s: %s", name, strerror(errno));
    }
    if (mac != NULL) {
        (void)set_mac(s, name, mac);
    }
    return 0;
}

void bridge_destroy(const char *name)
{
    AUTO_FD int s = control();

    if (s >= 0 && link_up(name, false, NULL) == 0) {
        (void)ioctl(s, SIOCBRDELBR, name);
    }
}

int link_add_address(const char *name, const char *address, unsigned prefix, struct err **err)
{
    AUTO_FREE char *text = str_format("%s/%u", address, prefix);
    const char *const argv[] = { "ip", "address", "add", text, "dev", name, NULL };

    return text != NULL ? ip(argv, err) : -ENOMEM;
}
