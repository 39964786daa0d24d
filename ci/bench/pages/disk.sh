cd /
dd if=/dev/zero of=/large bs=1M count=32 conv=fsync
dd if=/dev/zero of=/small bs=4k count=64 oflag=dsync
read_image() { find /usr/bin /usr/sbin /usr/lib -xdev -type f -size +64k -size -8192k -exec cat {} + | dd of=/dev/null bs=64k; }
read_image
read_image
