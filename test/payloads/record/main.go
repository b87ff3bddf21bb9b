// Lets the senders' own libraries send to a listener of this program, which writes down what came over the wire: one
// file a request, its head and its body. Run `go run .` in this folder; every id and time in it is fixed, so that a
// second run changes nothing but what a new version of a library does differently.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"slices"
	"strconv"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"
	svix "github.com/svix/svix-webhooks/go"
)

// The key of test/signatures.test.ts, known to everybody.
const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"

var at = time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC)

type said struct {
	Title    string            `json:"title"`
	Severity string            `json:"severity"`
	Labels   map[string]string `json:"labels"`
}

var loss = said{"UDP loss: 3 % of the queries", "critical", map[string]string{"namespace": "shop", "service": "echo"}}

func main() {
	record("cloudevents-binary", func(url string) error {
		return send(cloudevents.WithEncodingBinary(context.Background()), url, event("firing", loss))
	})
	record("cloudevents-structured", func(url string) error {
		return send(cloudevents.WithEncodingStructured(context.Background()), url, event("firing", loss))
	})
	// Whoever has its data as bytes already hands over bytes: the library then writes them as data_base64.
	record("cloudevents-bytes", func(url string) error {
		return send(cloudevents.WithEncodingStructured(context.Background()), url, event("firing", must(json.Marshal(loss))))
	})
	record("cloudevents-batch", func(url string) error {
		events := []cloudevents.Event{event("firing", loss), event("resolved", loss)}
		return do(must(cehttp.NewHTTPRequestFromEvents(context.Background(), url, events)))
	})
	sign := must(standard.NewWebhook(secret))
	record("standard-webhook", func(url string) error { return signed(url, "webhook", sign.Sign) })
	signSvix := must(svix.NewWebhook(secret))
	record("standard-svix", func(url string) error { return signed(url, "svix", signSvix.Sign) })
}

func event(verb string, data any) cloudevents.Event {
	event := cloudevents.NewEvent()
	event.SetID("udp-loss-" + verb)
	event.SetSource("/monitoring/lab")
	event.SetType("com.example.udp.loss." + verb)
	event.SetSubject("shop/echo")
	event.SetTime(at)
	event.SetExtension("traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
	if err := event.SetData(cloudevents.ApplicationJSON, data); err != nil {
		log.Fatal(err)
	}
	return event
}

func send(encoding context.Context, url string, event cloudevents.Event) error {
	client := must(cloudevents.NewClientHTTP(cloudevents.WithTarget(url)))
	if result := client.Send(encoding, event); !cloudevents.IsACK(result) {
		return result
	}
	return nil
}

// signed sends by Standard Webhooks: the library gives the signature only, who uses it sets the three headers.
func signed(url, prefix string, sign func(id string, at time.Time, body []byte) (string, error)) error {
	body := must(json.Marshal(map[string]any{
		"type": "udp_loss.firing", "timestamp": at.Format(time.RFC3339),
		"data": map[string]any{"problem": "udp-loss/shop/echo", "title": loss.Title, "labels": loss.Labels},
	}))
	request := must(http.NewRequest(http.MethodPost, url, bytes.NewReader(body)))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(prefix+"-id", "msg_9")
	request.Header.Set(prefix+"-timestamp", strconv.FormatInt(at.Unix(), 10))
	request.Header.Set(prefix+"-signature", must(sign("msg_9", at, body)))
	return do(request)
}

func do(request *http.Request) error {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// record keeps the one request that is sent to it; the port of this run becomes a name.
func record(name string, send func(url string) error) {
	var came []byte
	listener := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		request.Host = "undrop.example"
		came = must(httputil.DumpRequest(request, true))
	}))
	defer listener.Close()
	if err := send(listener.URL + "/hooks/lab"); err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	// Lines of the head end as text files do here: git would change them anyway, and the body stays as it came.
	head, body, _ := bytes.Cut(came, []byte("\r\n\r\n"))
	lines := bytes.ReplaceAll(head, []byte("\r\n"), []byte("\n"))
	if err := os.WriteFile(fmt.Sprintf("../%s.http", name), slices.Concat(lines, []byte("\n\n"), body), 0o644); err != nil {
		log.Fatal(err)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
