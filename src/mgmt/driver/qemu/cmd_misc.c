/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_misc.c - displays, input, sound, and the small devices. */
#include "mgmt/driver/qemu/cmdline.h"

#include "base/str.h"
#include "mgmt/driver/qemu/ports.h"
#include "mgmt/driver/qemu/run.h"
#include "mgmt/model/domain/domain.h"
#include "rpc/fault.h"

#include <errno.h>

enum { VNC_BASE = 5900 };

static int vnc(struct cmdline *c, struct node *g, struct err **err)
{
    struct node *l = node_child(g, "listen");
    const char *listen = l != NULL ? node_attr(l, "address") : NULL;
    const char *socket = l != NULL && node_is(l, "@type", "socket") ? node_attr(l, "socket") : NULL;
    struct strbuf b = STRBUF_INIT(4096);
    AUTO_FREE char *text = NULL;
    unsigned port = (unsigned)node_get_u64(g, "@port", 0);

    if (l != NULL && node_is(l, "@type", "none")) {
        strbuf_puts(&b, "none");
    } else if (l != NULL && node_is(l, "@type", "socket")) {
        if (socket == NULL) {
            if (node_setf(l, "@socket", "%s/vnc.sock", c->lib_dir) < 0) {
                return -ENOMEM;
            }
            socket = node_attr(l, "socket");
        }
        strbuf_printf(&b, "unix:%s", socket);
    } else {
        if (node_is(g, "@autoport", "yes") || port == 0) {
            int r = c->dry ? 0 : ports_take(VNC_BASE, 65535, &port, err);

            if (r < 0) {
                return r;
            }
            port = c->dry ? VNC_BASE : port;
            c->run->vnc_port = c->dry ? 0 : port;
            if (node_setf(g, "@port", "%u", port) < 0) {
                return -ENOMEM;
            }
        }
        if (listen == NULL) {
            listen = "127.0.0.1";
            if (node_set(g, "@listen", listen) < 0 ||
                (l != NULL && node_set(l, "@address", listen) < 0)) {
                return -ENOMEM;
            }
        }
        if (port < VNC_BASE) {
            return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED, "vnc port must be in range [%d,65535]",
                         VNC_BASE);
        }
        strbuf_printf(&b, strchr(listen, ':') != NULL ? "[%s]:%u" : "%s:%u", listen,
                      port - VNC_BASE);
    }
    if (node_attr(g, "passwd") != NULL) {
        strbuf_puts(&b, ",password=on");
    }
    if (node_attr(g, "sharePolicy") != NULL) {
        strbuf_printf(&b, ",share=%s", node_attr(g, "sharePolicy"));
    }
    if (node_child(domain_devices(c->def), "audio") != NULL) {
        strbuf_printf(&b, ",audiodev=audio%s",
                      node_attr(node_child(domain_devices(c->def), "audio"), "id"));
    }
    text = strbuf_take(&b);
    cmdline_arg(c, "-vnc");
    cmdline_arg(c, text != NULL ? text : "none");
    if (node_attr(g, "keymap") != NULL) {
        cmdline_arg(c, "-k");
        cmdline_arg(c, node_attr(g, "keymap"));
    }
    return 0;
}

static int spice(struct cmdline *c, struct node *g, struct err **err)
{
    unsigned port = (unsigned)node_get_u64(g, "@port", 0);
    struct node *l = node_child(g, "listen");
    const char *listen = l != NULL ? node_attr(l, "address") : NULL;

    if (!emulator_has_type(c->emulator, "chardev-spicevmc")) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                     "spice graphics are not supported with this QEMU");
    }
    if (node_is(g, "@autoport", "yes") || port == 0) {
        int r = c->dry ? 0 : ports_take(VNC_BASE, 65535, &port, err);

        port = c->dry ? VNC_BASE : port;
        if (r < 0 || node_setf(g, "@port", "%u", port) < 0) {
            return r < 0 ? r : -ENOMEM;
        }
        c->run->spice_port = c->dry ? 0 : port;
    }
    if (listen == NULL) {
        listen = "127.0.0.1";
        if (node_set(g, "@listen", listen) < 0 ||
            (l != NULL && node_set(l, "@address", listen) < 0)) {
            return -ENOMEM;
        }
    }
    cmdline_arg(c, "-spice");
    cmdline_argf(c, "port=%u,addr=%s,disable-ticketing=on,seamless-migration=on", port, listen);
    return 0;
}

static int video(struct cmdline *c, struct node *v)
{
    const struct node *m = node_child(v, "model");
    const char *type = node_attr(m, "type");
    bool first = node_child(domain_devices(c->def), "video") == v;
    struct json_object *o;

    if (str_eq(type, "none")) {
        return 0;
    }
    o = device_json(c,
                    str_eq(type, "vga")      ? (first ? "VGA" : "secondary-vga")
                    : str_eq(type, "cirrus") ? "cirrus-vga"
                    : str_eq(type, "vmvga")  ? "vmware-svga"
                    : str_eq(type, "qxl")    ? (first ? "qxl-vga" : "qxl")
                    : str_eq(type, "virtio") ? (first ? "virtio-vga" : "virtio-gpu-pci")
                    : str_eq(type, "bochs")  ? "bochs-display"
                                             : type,
                    v);
    if (o == NULL) {
        return -ENOMEM;
    }
    if (str_eq(type, "vga") && node_attr(m, "vram") != NULL) {
        (void)json_add_u64(o, "vgamem_mb", node_get_u64(m, "@vram", 16384) / 1024);
    } else if (str_eq(type, "qxl")) {
        (void)json_add_u64(o, "ram_size", node_get_u64(m, "@ram", 65536) * 1024);
        (void)json_add_u64(o, "vram_size", node_get_u64(m, "@vram", 65536) * 1024);
        (void)json_add_u64(o, "vram64_size_mb", node_get_u64(m, "@vram64", 0) / 1024);
        (void)json_add_u64(o, "vgamem_mb", node_get_u64(m, "@vgamem", 16384) / 1024);
        (void)json_add_u64(o, "max_outputs", node_get_u64(m, "@heads", 1));
    } else if (str_eq(type, "virtio")) {
        (void)json_add_u64(o, "max_outputs", node_get_u64(m, "@heads", 1));
    }
    cmdline_json(c, "-device", o);
    return 0;
}

static int audio(struct cmdline *c, const struct node *a)
{
    struct json_object *o = json_object_new_object();
    AUTO_FREE char *id = str_format("audio%s", node_attr(a, "id"));

    (void)json_add_str(o, "id", id != NULL ? id : "audio1");
    (void)json_add_str(o, "driver", node_attr(a, "type"));
    cmdline_json(c, "-audiodev", o);
    return 0;
}

static int sound(struct cmdline *c, struct node *s)
{
    const char *model = node_attr(s, "model");
    const struct node *a = node_child(domain_devices(c->def), "audio");
    AUTO_FREE char *audiodev = str_format("audio%s", a != NULL ? node_attr(a, "id") : "1");
    bool hda = str_eq(model, "ich6") || str_eq(model, "ich9");
    struct json_object *o;

    if (str_eq(model, "pcspk")) {
        return 0;
    }
    o = device_json(c,
                    str_eq(model, "es1370") ? "ES1370"
                    : str_eq(model, "ac97") ? "AC97"
                    : str_eq(model, "ich6") ? "intel-hda"
                    : str_eq(model, "ich9") ? "ich9-intel-hda"
                    : str_eq(model, "usb")  ? "usb-audio"
                                            : model,
                    s);
    if (!hda) {
        (void)json_add_str(o, "audiodev", audiodev);
    }
    cmdline_json(c, "-device", o);
    if (hda) {
        const char *alias = node_get(s, "alias/@name");
        const char *codec = node_get(s, "codec/@type");
        AUTO_FREE char *id = str_format("%s-codec0", alias);
        AUTO_FREE char *bus = str_format("%s.0", alias);

        o = json_object_new_object();
        (void)json_add_str(o, "driver",
                           codec == NULL || str_eq(codec, "duplex") ? "hda-duplex"
                           : str_eq(codec, "micro")                 ? "hda-micro"
                                                                    : "hda-output");
        (void)json_add_str(o, "id", id);
        (void)json_add_str(o, "bus", bus);
        (void)json_add_u64(o, "cad", 0);
        (void)json_add_str(o, "audiodev", audiodev);
        cmdline_json(c, "-device", o);
    }
    return 0;
}

static int filesystem(struct cmdline *c, const struct node *f, struct err **err)
{
    const char *alias = node_get(f, "alias/@name"), *model = node_attr(f, "accessmode");
    AUTO_FREE char *dev = str_format("fsdev-%s", alias);
    struct json_object *o;

    if (node_is(f, "driver/@type", "virtiofs")) {
        const char *socket = node_get(f, "source/@socket");
        AUTO_FREE char *chr = str_format("chr-vu-%s", alias);

        if (socket == NULL) {
            return fault(
                err, DOM_QEMU, CONFIG_UNSUPPORTED,
                "virtiofs needs the socket of a running virtiofsd (<source socket='...'/>)");
        }
        cmdline_arg(c, "-chardev");
        cmdline_argf(c, "socket,id=%s,path=%s", chr, socket);
        o = device_json(c, "vhost-user-fs-pci", f);
        (void)json_add_str(o, "chardev", chr);
        (void)json_add_str(o, "tag", node_get(f, "target/@dir"));
        cmdline_json(c, "-device", o);
        return 0;
    }
    cmdline_arg(c, "-fsdev");
    cmdline_argf(c, "local,security_model=%s,id=%s,path=%s%s",
                 model == NULL || str_eq(model, "passthrough") ? "passthrough"
                 : str_eq(model, "mapped")                     ? "mapped"
                                                               : "none",
                 dev, node_get(f, "source/@dir") ? node_get(f, "source/@dir") : "",
                 node_child(f, "readonly") != NULL ? ",readonly=on" : "");
    o = device_json(c, "virtio-9p-pci", f);
    (void)json_add_str(o, "fsdev", dev);
    (void)json_add_str(o, "mount_tag", node_get(f, "target/@dir"));
    cmdline_json(c, "-device", o);
    return 0;
}

static int rng_backend(struct cmdline *c, const struct node *r)
{
    struct json_object *o = json_object_new_object();
    AUTO_FREE char *id = str_format("obj%s", node_get(r, "alias/@name"));

    (void)json_add_str(o, "qom-type",
                       node_is(r, "backend/@model", "builtin") ? "rng-builtin" : "rng-random");
    (void)json_add_str(o, "id", id != NULL ? id : "");
    if (!node_is(r, "backend/@model", "builtin")) {
        (void)json_add_str(o, "filename", node_get(r, "backend"));
    }
    cmdline_json(c, "-object", o);
    return 0;
}

static int tpm(struct cmdline *c, const struct node *t, struct err **err)
{
    const char *alias = node_get(t, "alias/@name");
    struct json_object *o;

    if (node_is(t, "backend/@type", "passthrough")) {
        cmdline_arg(c, "-tpmdev");
        cmdline_argf(c, "passthrough,id=tpm-%s,path=%s", alias,
                     node_get(t, "backend/device/@path") ? node_get(t, "backend/device/@path")
                                                         : "/dev/tpm0");
    } else {
        const char *socket = node_get(t, "backend/source/@path");

        if (socket == NULL) {
            return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                         "the TPM emulator's socket is missing: swtpm could not be started");
        }
        cmdline_arg(c, "-chardev");
        cmdline_argf(c, "socket,id=chrtpm,path=%s", socket);
        cmdline_arg(c, "-tpmdev");
        cmdline_argf(c, "emulator,id=tpm-%s,chardev=chrtpm", alias);
    }
    o = json_object_new_object();
    (void)json_add_str(o, "driver", node_attr(t, "model"));
    {
        AUTO_FREE char *dev = str_format("tpm-%s", alias);

        (void)json_add_str(o, "tpmdev", dev != NULL ? dev : "");
    }
    (void)json_add_str(o, "id", alias);
    cmdline_json(c, "-device", o);
    return 0;
}

struct json_object *misc_device(struct cmdline *c, const struct node *d)
{
    const char *n = d->name, *alias = node_get(d, "alias/@name");
    struct json_object *o = NULL;

    if (str_eq(n, "rng")) {
        AUTO_FREE char *rng = str_format("obj%s", alias);

        o = device_json(c, "virtio-rng-pci", d);
        if (o != NULL) {
            (void)json_add_str(o, "rng", rng != NULL ? rng : "");
            if (node_get(d, "rate/@bytes") != NULL) {
                (void)json_add_u64(o, "max-bytes", node_get_u64(d, "rate/@bytes", 0));
                (void)json_add_u64(o, "period", node_get_u64(d, "rate/@period", 1000));
            }
        }
    } else if (str_eq(n, "memballoon")) {
        if (!node_is(d, "@model", "none")) {
            o = device_json(c, "virtio-balloon-pci", d);
            if (o != NULL && node_is(d, "@autodeflate", "on")) {
                (void)json_add_bool(o, "deflate-on-oom", true);
            }
            if (o != NULL && node_is(d, "@freePageReporting", "on")) {
                (void)json_add_bool(o, "free-page-reporting", true);
            }
        }
    } else if (str_eq(n, "watchdog")) {
        if (!node_is(d, "@model", "itco")) {
            o = device_json(c, node_attr(d, "model"), d);
        }
    } else if (str_eq(n, "input")) {
        const char *type = node_attr(d, "type");

        if (node_is(d, "@bus", "usb")) {
            o = device_json(c,
                            str_eq(type, "mouse")    ? "usb-mouse"
                            : str_eq(type, "tablet") ? "usb-tablet"
                                                     : "usb-kbd",
                            d);
        } else if (node_is(d, "@bus", "virtio")) {
            o = device_json(c,
                            str_eq(type, "mouse")    ? "virtio-mouse-pci"
                            : str_eq(type, "tablet") ? "virtio-tablet-pci"
                                                     : "virtio-keyboard-pci",
                            d);
        }
    } else if (str_eq(n, "panic")) {
        o = device_json(c, "pvpanic", d);
        if (o != NULL) {
            (void)json_add_u64(o, "ioport", node_get_u64(d, "address/@iobase", 0x505));
        }
    } else if (str_eq(n, "vsock")) {
        o = device_json(c, "vhost-vsock-pci", d);
        if (o != NULL) {
            (void)json_add_u64(o, "guest-cid", node_get_u64(d, "cid/@address", 3));
        }
    } else if (str_eq(n, "hub")) {
        o = device_json(c, "usb-hub", d);
    } else if (str_eq(n, "hostdev") && node_is(d, "@type", "pci")) {
        const struct node *a = node_child(node_child(d, "source"), "address");
        AUTO_FREE char *host = str_format("%04llx:%02llx:%02llx.%llx",
                                          (unsigned long long)node_get_u64(a, "@domain", 0),
                                          (unsigned long long)node_get_u64(a, "@bus", 0),
                                          (unsigned long long)node_get_u64(a, "@slot", 0),
                                          (unsigned long long)node_get_u64(a, "@function", 0));

        o = device_json(c, "vfio-pci", d);
        if (o != NULL) {
            (void)json_add_str(o, "host", host != NULL ? host : "");
        }
    } else if (str_eq(n, "hostdev") && node_is(d, "@type", "usb")) {
        o = device_json(c, "usb-host", d);
        if (o != NULL) {
            (void)json_add_u64(o, "vendorid", node_get_u64(d, "source/vendor/@id", 0));
            (void)json_add_u64(o, "productid", node_get_u64(d, "source/product/@id", 0));
        }
    } else if (str_eq(n, "iommu")) {
        o = json_object_new_object();
        (void)json_add_str(o, "driver",
                           node_is(d, "@model", "intel") ? "intel-iommu" : node_attr(d, "model"));
    } else if (str_eq(n, "memory") && node_is(d, "@model", "dimm")) {
        AUTO_FREE char *mem = str_format("mem%s", alias);

        o = json_object_new_object();
        (void)json_add_str(o, "driver", "pc-dimm");
        (void)json_add_str(o, "id", alias);
        (void)json_add_str(o, "memdev", mem);
        if (node_get(d, "target/node") != NULL) {
            (void)json_add_u64(o, "node", node_get_u64(d, "target/node", 0));
        }
    }
    return o;
}

int misc_args(struct cmdline *c, struct node *d, struct err **err)
{
    const char *n = d->name;
    struct json_object *o;

    if (str_eq(n, "graphics")) {
        const char *type = node_attr(d, "type");

        return str_eq(type, "vnc")     ? vnc(c, d, err)
               : str_eq(type, "spice") ? spice(c, d, err)
               : str_eq(type, "sdl") || str_eq(type, "egl-headless")
                   ? (cmdline_arg(c, "-display"), cmdline_arg(c, type), 0)
                   : fault(err, DOM_QEMU, CONFIG_UNSUPPORTED, "unsupported graphics type '%s'",
                           type);
    }
    if (str_eq(n, "audio")) {
        return audio(c, d);
    }
    if (str_eq(n, "video")) {
        return video(c, d);
    }
    if (str_eq(n, "sound")) {
        return sound(c, d);
    }
    if (str_eq(n, "filesystem")) {
        return filesystem(c, d, err);
    }
    if (str_eq(n, "tpm")) {
        return tpm(c, d, err);
    }
    if (str_eq(n, "rng") && rng_backend(c, d) < 0) {
        return -ENOMEM;
    }
    if (str_eq(n, "watchdog")) {
        const char *action = node_attr(d, "action");

        cmdline_arg(c, "-watchdog-action");
        cmdline_arg(c, str_eq(action, "dump") ? "pause" : action);
    }
    if (str_eq(n, "memory") && node_is(d, "@model", "dimm")) {
        struct json_object *m = json_object_new_object();
        AUTO_FREE char *id = str_format("mem%s", node_get(d, "alias/@name"));

        (void)json_add_str(m, "qom-type", "memory-backend-ram");
        (void)json_add_str(m, "id", id != NULL ? id : "");
        (void)json_add_u64(m, "size", node_get_u64(d, "target/size", 0) * 1024);
        cmdline_json(c, "-object", m);
    }
    o = misc_device(c, d);
    if (o != NULL) {
        cmdline_json(c, "-device", o);
    }
    return 0;
}
