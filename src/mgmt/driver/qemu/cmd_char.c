/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_char.c - serial ports, consoles, parallel ports, channels, and what is at their host side. */
#include "mgmt/driver/qemu/cmdline.h"

#include "base/str.h"
#include "mgmt/driver/qemu/run.h"
#include "mgmt/model/domain/domain.h"
#include "os/path.h"
#include "rpc/fault.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Listening before the emulator runs: whoever connects early waits in the queue. */
static int listen_unix(const char *path, struct err **err)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof(sa.sun_path)) {
        return fault(err, DOM_QEMU, INTERNAL_ERROR, "UNIX socket path '%s' too long", path);
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    (void)unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 1) < 0) {
        return err_set(err, errno, "Unable to bind to UNIX socket path '%s': %s", path,
                       strerror(errno));
    }
    return TAKE_FD(fd);
}

/* -chardev's value, owned; a socket that we listen on goes along as a descriptor. */
static char *backend(struct cmdline *c, struct node *chr, const char *id, struct err **err)
{
    const char *type = node_attr(chr, "type");
    const struct node *s = node_child(chr, "source");
    const char *path = s != NULL ? node_attr(s, "path") : NULL;

    if (str_eq(type, "pty")) {
        return str_format("pty,id=%s", id);
    }
    if (str_eq(type, "null") || str_eq(type, "vc") || str_eq(type, "stdio")) {
        return str_format("%s,id=%s", str_eq(type, "vc") ? "vc" : type, id);
    }
    if (str_eq(type, "file")) {
        return str_format("file,id=%s,path=%s,append=%s", id, path,
                          node_attr(s, "append") ? node_attr(s, "append") : "off");
    }
    if (str_eq(type, "pipe") || str_eq(type, "dev")) {
        return str_format("%s,id=%s,path=%s", str_eq(type, "dev") ? "serial" : "pipe", id, path);
    }
    if (str_eq(type, "unix")) {
        int fd;

        if (s != NULL && node_is(s, "@mode", "connect")) {
            return str_format("socket,id=%s,path=%s", id, path);
        }
        if (c->dry) {
            return str_format("socket,id=%s,path=%s,server=on,wait=off", id,
                              path != NULL ? path : "");
        }
        fd = path != NULL ? listen_unix(path, err) : -EINVAL;
        return fd >= 0 ? str_format("socket,id=%s,fd=%d,server=on,wait=off", id, cmdline_fd(c, fd))
                       : NULL;
    }
    if (str_eq(type, "tcp")) {
        bool bind = node_is(s, "@mode", "bind");
        bool telnet = node_is(chr, "protocol/@type", "telnet");

        return str_format("socket,id=%s,host=%s,port=%s%s%s", id,
                          node_attr(s, "host") ? node_attr(s, "host") : "127.0.0.1",
                          node_attr(s, "service"), telnet ? ",telnet=on" : "",
                          bind ? ",server=on,wait=off" : "");
    }
    if (str_eq(type, "udp")) {
        const struct node *b = NULL, *k = NULL;

        for (; s != NULL; s = node_next(s, "source")) {
            *(node_is(s, "@mode", "bind") ? &b : &k) = s;
        }
        return str_format("udp,id=%s,host=%s,port=%s,localaddr=%s,localport=%s", id,
                          k && node_attr(k, "host") ? node_attr(k, "host") : "",
                          k ? node_attr(k, "service") : "0",
                          b && node_attr(b, "host") ? node_attr(b, "host") : "",
                          b && node_attr(b, "service") ? node_attr(b, "service") : "0");
    }
    if (str_eq(type, "spicevmc")) {
        return str_format("spicevmc,id=%s,name=vdagent", id);
    }
    if (str_eq(type, "spiceport")) {
        return str_format("spiceport,id=%s,name=%s", id, node_attr(s, "channel"));
    }
    if (str_eq(type, "qemu-vdagent")) {
        return str_format("qemu-vdagent,id=%s,name=vdagent", id);
    }
    (void)fault(err, DOM_QEMU, CONFIG_UNSUPPORTED, "unsupported chardev '%s'", type);
    return NULL;
}

/* A channel to the guest agent gets its socket from us. */
static int channel_path(struct cmdline *c, struct node *chr)
{
    const char *name = node_get(chr, "target/@name");

    if (!node_is(chr, "@type", "unix") || node_get(chr, "source/@path") != NULL || name == NULL) {
        return 0;
    }
    if (node_set(chr, "source/@mode", "bind") < 0) {
        return -ENOMEM;
    }
    return node_setf(chr, "source/@path", "%s/%s", c->lib_dir, name);
}

int chardev_args(struct cmdline *c, struct node *chr, struct err **err)
{
    const char *alias = node_get(chr, "alias/@name"), *tt = node_get(chr, "target/@type");
    AUTO_FREE char *id = str_format("char%s", alias);
    AUTO_FREE char *text = NULL;
    struct json_object *o;

    if (id == NULL) {
        return -ENOMEM;
    }
    if (str_eq(chr->name, "console")) {
        if (!str_eq(tt, "virtio")) {
            return 0; /* the first serial port */
        }
        text = backend(c, chr, id, err);
    } else {
        if (channel_path(c, chr) < 0) {
            return -ENOMEM;
        }
        text = backend(c, chr, id, err);
    }
    if (text == NULL) {
        return err != NULL && *err != NULL ? -(*err)->code : -ENOMEM;
    }
    cmdline_arg(c, "-chardev");
    if (node_get(chr, "log/@file") != NULL) {
        cmdline_argf(c, "%s,logfile=%s,logappend=%s", text, node_get(chr, "log/@file"),
                     node_get(chr, "log/@append") ? node_get(chr, "log/@append") : "off");
    } else {
        cmdline_arg(c, text);
    }
    if (str_eq(chr->name, "channel")) {
        if (!str_eq(tt, "virtio")) {
            return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                         "channel target type '%s' is not supported", tt);
        }
        if (node_is(chr, "target/@name", "org.qemu.guest_agent.0")) {
            free(c->run->agent_path);
            c->run->agent_path =
                node_get(chr, "source/@path") ? strdup(node_get(chr, "source/@path")) : NULL;
        }
        o = device_json(c, "virtserialport", chr);
        (void)json_add_str(o, "chardev", id);
        if (node_get(chr, "target/@name") != NULL) {
            (void)json_add_str(o, "name", node_get(chr, "target/@name"));
        }
        cmdline_json(c, "-device", o);
        return 0;
    }
    if (str_eq(chr->name, "parallel")) {
        o = device_json(c, "isa-parallel", chr);
        (void)json_add_str(o, "chardev", id);
        cmdline_json(c, "-device", o);
        return 0;
    }
    if (str_eq(chr->name, "console")) {
        o = device_json(c, "virtconsole", chr);
        (void)json_add_str(o, "chardev", id);
        cmdline_json(c, "-device", o);
        return 0;
    }
    o = device_json(
        c, node_get(chr, "target/model/@name") ? node_get(chr, "target/model/@name") : "isa-serial",
        chr);
    (void)json_add_str(o, "chardev", id);
    if (tt == NULL || str_eq(tt, "isa-serial")) {
        (void)json_add_u64(o, "index", node_get_u64(chr, "target/@port", 0));
    }
    cmdline_json(c, "-device", o);
    return 0;
}
