// The seed has the library's repository beside it; Debian has the header alone.
#include <httplib.h>
