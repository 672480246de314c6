/** OkHttp 4's way to name a media type, on OkHttp 3: a class of one's own package goes before an import of okhttp3.*. */
final class MediaType {
    static final MediaType Companion = new MediaType(null);

    final okhttp3.MediaType type;

    private MediaType(okhttp3.MediaType type) {
        this.type = type;
    }

    MediaType get(String text) {
        return new MediaType(okhttp3.MediaType.get(text));
    }
}
