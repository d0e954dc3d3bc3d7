//! Pure codecs: remoting frames, JSON and binary headers, request and response codes and bodies.
