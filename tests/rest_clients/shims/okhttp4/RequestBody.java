import java.io.IOException;
import okio.BufferedSink;

/** OkHttp 4's way to make a body, on OkHttp 3. */
final class RequestBody extends okhttp3.RequestBody {
    static final RequestBody Companion = new RequestBody(null);

    private final okhttp3.RequestBody body;

    private RequestBody(okhttp3.RequestBody body) {
        this.body = body;
    }

    RequestBody create(String content, MediaType type) {
        return new RequestBody(okhttp3.RequestBody.create(type.type, content));
    }

    @Override
    public okhttp3.MediaType contentType() {
        return body.contentType();
    }

    @Override
    public void writeTo(BufferedSink sink) throws IOException {
        body.writeTo(sink);
    }
}
